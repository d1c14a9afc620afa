"""Files and folders that are whole or absent: written under a temporary name, then renamed."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import DataError, PipelineError

if TYPE_CHECKING:  # pandas takes 0.2 s to import, and most stages read no table
    import pandas as pd


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it there if the block ends without an error.

    Raises PipelineError, in one line, where the file system refuses.
    """
    path = Path(path)
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        temporary.chmod(0o666 & ~_umask())
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; it takes that name if the block ends without an error.

    An older folder of that name is replaced as a whole; whatever goes wrong, it is put back.
    """
    path = Path(path)
    temporary = replaced = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
        temporary.chmod(0o777 & ~_umask())
        yield temporary
        if path.exists():
            replaced = temporary.with_suffix(".old.tmp")
            path.rename(replaced)
        temporary.rename(path)
    except OSError as error:
        raise _refused(path, error) from error
    finally:
        if replaced is not None and not path.exists():
            replaced.rename(path)
        for leftover in filter(None, (temporary, replaced)):
            shutil.rmtree(leftover, ignore_errors=True)


def _refused(path: Path, error: OSError) -> PipelineError:
    """Say whether it was the file to write or another one that the system refused."""
    reason = error.strerror or error
    refused = Path(error.filename or path)
    own = {path, path.resolve(), *path.parents, *path.resolve().parents}
    temporary = any(part.startswith(f".{path.name}.") for part in refused.parts)
    if refused in own or temporary:
        return PipelineError(f"{path} cannot be written: {reason}")
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
    except ValueError as error:
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
