"""Files and folders that are whole or absent: written under a temporary name, then renamed."""

import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.errors import DataError, PipelineError

_Identity = dict[Path, tuple[int, int]]
_written: dict[Path, _Identity] = {}
"""Files and folders that this process has written: inode and time of each file in them."""


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and rename it to `path` unless the block raises.

    Temporary files that killed processes left behind are removed. Raises PipelineError, in one
    line, if the file system refuses.
    """
    path = Path(path)
    with _refusals_as_pipeline_errors(path), _temporary(path, _make_file) as temporary:
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        temporary.replace(path)
        _written[path.absolute()] = _identity(path)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `path`, and rename it to `path` unless the block raises.

    An existing folder is replaced as a whole, and restored if that fails. Temporary folders that
    killed processes left behind are removed. Raises PipelineError likewise.
    """
    path = Path(path)
    with _refusals_as_pipeline_errors(path), _temporary(path, _make_folder) as temporary:
        new = temporary / "new"
        new.mkdir()
        yield new
        with _alone_in(path.parent):
            _replace_folder(new, path)
            _written[path.absolute()] = _identity(path)


def check_undisturbed(project: Path) -> None:
    """Raise DataError if another program has changed what this process wrote into a project.

    While a stage runs, DVC lets `dvc checkout` and others change the stage's outs, and would record
    theirs as its results. One that is at work now is waited for.
    """
    _wait_until_free(project / ".dvc/tmp/lock")
    inside = [path for path in _written if path.is_relative_to(project)]
    for path in inside:
        name = path.relative_to(project)
        temporary = any(part.startswith(".") for part in name.parts)
        if not temporary and _identity(path) != _written[path]:
            raise DataError(
                f"{name} was changed by another program, such as dvc checkout, while this stage "
                "ran; run dvc repro again"
            )


def _wait_until_free(lock: Path) -> None:
    """Wait until no process holds a lock, or for so long that it may be of another kind."""
    until = time.monotonic() + 20
    while lock.exists() and time.monotonic() < until:
        handle = _lock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if handle is not None:
            os.close(handle)
            return
        time.sleep(0.02)


def _identity(path: Path) -> _Identity:
    files = path.rglob("*") if path.is_dir() else [path]
    stats = ((file, file.stat()) for file in files if file.is_file())
    return {file.absolute(): (stat.st_ino, stat.st_mtime_ns) for file, stat in stats}


@contextmanager
def _refusals_as_pipeline_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refused(path, error) from error


def _replace_folder(new: Path, path: Path) -> None:
    old = new.with_name("old")
    try:
        if path.exists():
            path.rename(old)
        new.rename(path)
    finally:
        if old.exists() and not path.exists():
            old.rename(path)


@contextmanager
def _temporary(path: Path, make: Callable[[Path], Path]) -> Iterator[Path]:
    """Yield a temporary file or folder beside `path`, locked while in use and removed at the end.

    The lock distinguishes it from those that killed processes left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = handle = None
    try:
        with _alone_in(path.parent):
            for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
                other = _lock(leftover, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if other is not None:
                    _remove(leftover)
                    os.close(other)
            temporary = make(path)
            handle = _lock(temporary, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield temporary
    finally:
        if temporary is not None:
            _remove(temporary)
        if handle is not None:
            os.close(handle)


def _make_file(path: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    return Path(name)


def _make_folder(path: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from renaming files in `folder` during the block."""
    handle = _lock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(path: Path, kind: int) -> int | None:
    """Return a locked handle, or None if the lock is taken or the file system has no locks.

    The system releases the lock when the handle is closed or the process ends.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(handle, kind)
    except OSError:
        os.close(handle)
        return None
    return handle


def _refused(path: Path, error: OSError) -> PipelineError:
    """Return an error that names the file that the system refused: `path` or another."""
    reason = error.strerror or error
    refused = Path(error.filename or path)
    own = {path, path.resolve(), *path.parents, *path.resolve().parents}
    temporary = any(part.startswith(f".{path.name}.") for part in refused.parts)
    if refused in own or temporary:
        # A temporary folder is shown under the name that it will have.
        final = re.sub(r"(^|/)\.([^/]+)\.[^./]+\.tmp/new(?=/)", r"\1\2", str(path))
        return PipelineError(f"{final} cannot be written: {reason}")
    return PipelineError(f"{refused}: {reason}")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content. Raises DataError if the file does not exist."""
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write indented JSON, keys in the given order. Raises ValueError for NaN and infinity."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object. Raises DataError if the file is missing or holds anything else."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold a JSON object, got {type(content).__name__}")
    return content


def code_digest(package: Path, parts: Iterable[str]) -> str:
    """Return the SHA-256 of some files and folders of code in a package, names included.

    Raises FileNotFoundError for one that does not exist: its code would not count.
    """
    digest = hashlib.sha256()
    for part in parts:
        path = package / part
        path.stat()
        inside = (file for suffix in ("py", "cu") for file in path.rglob(f"*.{suffix}"))
        for file in [path] if path.is_file() else sorted(inside):
            digest.update(file.relative_to(package).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
