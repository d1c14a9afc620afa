"""The sources of a dataset: a package, Kaggle, an HTTPS mirror, or a path of the user's."""

import errno
import hashlib
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pipeline.base.errors import DataError, DownloadError, in_one_line
from pipeline.base.unpack import UNZIP_ERRORS, most_unpacked
from pipeline.raw.find import check_raw, choose_files
from pipeline.raw.idx import write_idx
from pipeline.raw.sample import read_sample

EMBEDDED = "embedded"
KAGGLE = "kaggle:"
RETRIES = 2
"""Retries of a download that breaks off."""
IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
Report = Callable[[str], None]
"""Called with each failure that is not final, as one line."""


def fetch(
    sources: tuple[str, ...],
    folder: Path,
    *,
    checksums: dict[str, str],
    report: Report,
    retries: int = RETRIES,
) -> str:
    """Put the training and test files of the first source that works into an empty `folder`.

    Sources are tried in order; `report` receives the reason for trying the next one. A source whose
    files cannot be read fails too. Returns the source used. Raises DownloadError, naming every
    source and why it failed, if none works; OSError if the disk of `folder` is full.
    """
    failures = []
    for source in sources:
        try:
            _fetch_one(source, folder, checksums, retries, report)
            check_raw(folder)
        except (DataError, OSError) as error:
            full = _full_disk(error)
            if full is not None:  # another source would not help
                raise OSError(full.errno, full.strerror) from error
            reason = in_one_line(error).replace(f"{folder}/", "")
            failures.append(f"{source}: {reason}")
            if len(failures) < len(sources):
                report(f"source {source} failed: {reason}")
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            return source
    raise DownloadError("no source works: " + "; ".join(failures))


def _full_disk(error: BaseException | None) -> OSError | None:
    """Return the error of a full disk among an error and its causes, or None."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return error
        error = error.__cause__ or error.__context__
    return None


def _fetch_one(
    source: str, folder: Path, checksums: dict[str, str], retries: int, report: Report
) -> None:
    if source == EMBEDDED:
        _fetch_embedded(folder)
    elif source.startswith(KAGGLE):
        _fetch_kaggle(source.removeprefix(KAGGLE), folder, retries, report)
    elif re.match(r"https?://", source):
        _fetch_mirror(source, folder, checksums, retries, report)
    elif re.match(r"[a-z][a-z0-9+.]*:/", source):
        raise DataError("must be embedded, kaggle:<owner>/<dataset>, https://... or a path")
    else:
        # Path.expanduser raises for a user that does not exist.
        _fetch_path(Path(os.path.expanduser(source)), folder)  # noqa: PTH111


def _fetch_embedded(folder: Path) -> None:
    sample = read_sample()
    write_idx(folder / "train-images-idx3-ubyte", sample.images)
    write_idx(folder / "train-labels-idx1-ubyte", sample.labels)


def _fetch_kaggle(dataset: str, folder: Path, retries: int, report: Report) -> None:
    """Download a Kaggle dataset and copy its training and test files."""
    if not re.fullmatch(r"[\w-]+/[\w-]+", dataset):
        raise DataError(f"must name a dataset as kaggle:<owner>/<dataset>, got {dataset}")
    from pipeline.raw.kaggle import download_kaggle

    def report_failure(failure: str) -> None:
        report(f"source {KAGGLE}{dataset}: {failure}")

    unpacked = folder / "download"
    try:
        _copy_chosen(download_kaggle(dataset, unpacked, retries, report_failure), folder)
    except (DataError, tarfile.TarError, *UNZIP_ERRORS) as error:
        raise DataError(f"Kaggle: {in_one_line(error)}") from error
    shutil.rmtree(unpacked, ignore_errors=True)  # absent in a notebook, which uses its own folder


def _fetch_mirror(
    url: str, folder: Path, checksums: dict[str, str], retries: int, report: Report
) -> None:
    """Download the four IDX files of a URL that ends in '/', or a single file or zip archive."""
    name = re.split(r"[?#]", url)[0].rpartition("/")[2]
    if not name:
        for part in IDX_FILES:
            _download(url + part, part, folder, checksums, retries, report)
        return
    archive = folder / "download"
    archive.mkdir()
    _download(url, name, archive, checksums, retries, report)
    _fetch_path(archive / name, folder)
    shutil.rmtree(archive)


def _download(
    url: str,
    name: str,
    folder: Path,
    checksums: dict[str, str],
    retries: int,
    report: Report,
) -> None:
    checksum = checksums.get(name)
    if url.startswith("http://") and checksum is None:
        raise DataError(f"http:// needs a checksum of {name}; add it or use https://")
    from pipeline.raw.http import DamagedError, download, with_retries

    def attempt() -> None:
        download(url, folder / name)
        if checksum is not None and not _matches(folder / name, checksum):
            raise DamagedError(f"does not match checksums.{name}")

    try:
        with_retries(attempt, retries, lambda failure: report(f"{url}: {failure}"))
    except DataError as error:
        raise DataError(f"{name}: {error}") from error


def _matches(path: Path, checksum: str) -> bool:
    """Whether a file has the digest given as `md5:...` or `sha256:...`."""
    algorithm, _, digest = checksum.partition(":")
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return found.hexdigest() == digest


def _fetch_path(path: Path, folder: Path) -> None:
    if path.is_dir():
        _copy_chosen(path, folder)
    elif not path.exists():
        looked = "" if path.is_absolute() else f", looked for {path.absolute()}"
        raise DataError(f"does not exist{looked}")
    elif not path.is_file():
        raise DataError("must be a file or a folder, not a device or a pipe")
    elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        _extract_chosen(path, folder)
    else:
        choose_files([path.name])
        shutil.copyfile(path, folder / path.name)


def _copy_chosen(source: Path, folder: Path) -> None:
    """Copy only the files of the training and test sets."""
    names = [path.relative_to(source).as_posix() for path in source.rglob("*") if path.is_file()]
    for name in choose_files(names).names():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)


def _extract_chosen(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as content:
            names = [info.filename for info in content.infolist() if not info.is_dir()]
            for name in names:
                if _leaves(name):
                    raise DataError(f"holds a path that leaves its folder: {name}")
            chosen = choose_files(names).names()
            most = most_unpacked(archive)
            if sum(content.getinfo(name).file_size for name in chosen) > most:
                raise DataError(f"must unpack to at most {most} bytes")
            for name in chosen:
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(name) as packed, open(target, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    except UNZIP_ERRORS as error:
        raise DataError(f"is a damaged or encrypted zip archive: {error}") from error


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"[A-Za-z]:", name))
