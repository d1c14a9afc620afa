"""Archives: zip and tar files are unpacked into a folder, within limits and never out of it."""

import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath
from typing import IO

from pipeline.base.errors import DataError
from pipeline.base.unpack import UNZIP_ERRORS, Unpacked, most_unpacked
from pipeline.raw.formats import advice, format_of

_ZIP = re.compile(r"\.zip$", re.IGNORECASE)
_TAR = re.compile(r"\.(tar|tgz|tar\.gz)$", re.IGNORECASE)
Member = tuple[str, int, Callable[[], AbstractContextManager[IO[bytes]]]]
"""The name of a file in an archive, its size in bytes, and a function that opens it."""


def is_archive(path: Path) -> bool:
    """Whether a file is an archive, by its name or, for zip, by its content."""
    if _ZIP.search(path.name) or _TAR.search(path.name):
        return True
    return not format_of(path.name) and not advice(path.name) and zipfile.is_zipfile(path)


def is_packed_table(name: str) -> bool:
    """Whether a file is a table in an archive of its own, such as train.csv.zip from Kaggle."""
    return bool(_ZIP.search(name)) and format_of(_ZIP.sub("", name)) is not None


def unpack(archive: Path, folder: Path) -> dict[str, Path]:
    """Unpack the files of an archive that may hold images, and return their paths by name.

    Tables that are packed once more are unpacked too. Raises DataError, without the archive's name,
    if it is damaged, encrypted or a bomb, or if a path leaves its folder.
    """
    return with_tables(_unpacked(archive, folder), folder)


def with_tables(files: dict[str, Path], folder: Path) -> dict[str, Path]:
    """Return files with each packed table replaced by what it holds, unpacked into a folder.

    Raises DataError likewise, with the name of the table's archive.
    """
    every = {name: path for name, path in files.items() if not is_packed_table(name)}
    for number, name in enumerate(sorted(files.keys() - every.keys())):
        try:
            inner = _unpacked(files[name], folder / f"unpacked {number}")
        except DataError as error:
            raise DataError(f"{name} {error}") from error
        for part, path in inner.items():
            every.setdefault((PurePosixPath(name).parent / part).as_posix(), path)
    return every


def _unpacked(archive: Path, folder: Path) -> dict[str, Path]:
    tar = bool(_TAR.search(archive.name))
    most, total = most_unpacked(archive), 0
    files: dict[str, Path] = {}
    try:
        for name, size, opened in _tar_members(archive) if tar else _zip_members(archive):
            if _leaves(name):
                raise DataError(f"holds a path that leaves its folder: {name}")
            if not (format_of(name) or advice(name) or is_packed_table(name)):
                files[name] = folder / name  # named in messages, but not unpacked
                continue
            total += size
            if total > most:
                raise DataError(f"must unpack to at most {most} bytes")
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened() as packed, open(target, "wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            files[name] = target
    except (tarfile.TarError, *UNZIP_ERRORS) as error:
        kind = "damaged tar" if tar else "damaged or encrypted zip"
        raise DataError(f"is a {kind} archive: {error}") from error
    return files


def _zip_members(archive: Path) -> Iterator[Member]:
    with zipfile.ZipFile(archive) as content:
        for info in content.infolist():
            if not info.is_dir():
                yield info.filename, info.file_size, lambda info=info: content.open(info)  # type: ignore[misc]


def _tar_members(archive: Path) -> Iterator[Member]:
    with (
        Unpacked(archive) if archive.suffix.lower() != ".tar" else open(archive, "rb") as file,
        tarfile.open(fileobj=file, mode="r:") as content,
    ):
        for info in content:
            if info.isreg() and not info.issparse():
                yield info.name, info.size, lambda info=info: content.extractfile(info)  # type: ignore[misc]


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"[A-Za-z]:", name))
