"""Files and folders that are whole or absent: written under a temporary name, then renamed."""

import fcntl
import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, PipelineError

if TYPE_CHECKING:  # pandas takes 0.2 s to import, and most stages read no table
    import pandas as pd


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it there if the block ends without an error.

    What killed processes left of earlier attempts at the same file is removed. Raises
    PipelineError, in one line, where the file system refuses.
    """
    path = Path(path)
    with _told_in_one_line(path), ExitStack() as stack:
        temporary = stack.enter_context(_temporary(path, _make_file))
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        _finish(path, stack, lambda: temporary.replace(path))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it takes that name if the block ends without an error.

    An older folder of that name is replaced as a whole; whatever goes wrong, it is put back. What
    killed processes left of earlier attempts is removed.
    """
    path = Path(path)

    def replace() -> None:
        with _alone_in(path.parent):
            _replace_folder(new, path)

    with _told_in_one_line(path), ExitStack() as stack:
        new = stack.enter_context(_temporary(path, _make_folder)) / "new"
        new.mkdir()
        yield new
        _finish(path, stack, replace)


@contextmanager
def all_or_none() -> Iterator[None]:
    """Let the files and folders that the block writes take their names when it ends, or none.

    So a disk that is full at the second leaves the older first one too.
    """
    waiting: _Waiting = []
    token = _WAITING.set(waiting)
    with ExitStack() as stack:
        try:
            yield
        finally:
            _WAITING.reset(token)
            for _, temporaries, _ in waiting:
                stack.push(temporaries)
        for path, _, finish in waiting:
            with _told_in_one_line(path):
                finish()


_Waiting = list[tuple[Path, ExitStack, Callable[[], object]]]
_WAITING: ContextVar[_Waiting | None] = ContextVar("waiting", default=None)
"""What waits for the end of `all_or_none`: path, temporary files, and how it takes its name."""


def _finish(path: Path, stack: ExitStack, finish: Callable[[], object]) -> None:
    waiting = _WAITING.get()
    if waiting is None:
        finish()
    else:
        waiting.append((path, stack.pop_all(), finish))


@contextmanager
def _told_in_one_line(path: Path) -> Iterator[None]:
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
    """Make something beside `path`, locked while it is in use, and remove what is left of it.

    The lock tells it from what a killed process left, which nobody locks any more.
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
    """Keep other processes' names in `folder` from changing, for a moment."""
    handle = _lock(folder, fcntl.LOCK_EX)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _lock(path: Path, kind: int) -> int | None:
    """Give an open, locked handle, or None where another has it or the file system has no locks.

    The system lets go of it when the handle is closed or the process ends, however it ends.
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
    """Say whether it was the file to write or another one that the system refused."""
    reason = error.strerror or error
    refused = Path(error.filename or path)
    own = {path, path.resolve(), *path.parents, *path.resolve().parents}
    temporary = any(part.startswith(f".{path.name}.") for part in refused.parts)
    if refused in own or temporary:
        # Inside a folder that is being written, that folder's own name says more than this one's.
        final = re.sub(r"(^|/)\.([^/]+)\.[^./]+\.tmp/new(?=/)", r"\1\2", str(path))
        return PipelineError(f"{final} cannot be written: {reason}")
    return PipelineError(f"{refused}: {reason}")


def copy_file(source: Path, target: Path) -> None:
    """Copy a file's content. Raises DataError if it cannot be read."""
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError as error:
        raise DataError(f"{source} does not exist") from error


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` as indented JSON, keys in the order given; NaN and infinity are refused."""
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


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table as CSV, numbers with six significant digits."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g")


def read_table(path: Path, text: tuple[str, ...] = ()) -> "pd.DataFrame":
    """Read a CSV table, columns `text` as text, even where that looks like a number or like NA.

    Raises DataError if the file is missing or no table.
    """
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a CSV table: {error}") from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
