"""The sources of a dataset: a package, Kaggle, an HTTPS mirror, or a path of the user's."""

import errno
import hashlib
import os
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from pipeline.base.errors import DataError, DownloadError, in_one_line
from pipeline.base.unpack import UNZIP_ERRORS
from pipeline.raw.archives import is_archive, unpack, with_tables
from pipeline.raw.find import check_raw, files_in, find_set
from pipeline.raw.formats import format_of
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
SCRATCH = ".download"
"""Hidden, so that it is not part of the data."""
_INSIDE = rf"{{}}/(?:{re.escape(SCRATCH)}/(?:(?:unpacked|kaggle)/)?)?"
"""The folders in which files lie only for the time of the download."""
Report = Callable[[str], None]
"""Called with each failure that is not final, as one line."""


def fetch(
    sources: tuple[str, ...],
    folder: Path,
    *,
    files: str | None = None,
    checksums: dict[str, str],
    report: Report,
    retries: int = RETRIES,
) -> str:
    """Put the training and test files of the first source that works into an empty `folder`.

    files: the name of the set, if a source has several. Sources are tried in order; `report`
    receives the reason for trying the next one. A source whose files cannot be read fails too.
    Returns the source used. Raises DownloadError, naming every source and why it failed, if none
    works; OSError if the disk of `folder` is full.
    """
    failures = []
    for source in sources:
        try:
            _fetch_one(source, folder, files, checksums, retries, report)
            check_raw(folder, files)
        except (DataError, OSError) as error:
            full = _full_disk(error)
            if full is not None:  # another source would not help
                raise OSError(full.errno, full.strerror) from error
            reason = re.sub(_INSIDE.format(re.escape(str(folder))), "", in_one_line(error))
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
    source: str,
    folder: Path,
    wanted: str | None,
    checksums: dict[str, str],
    retries: int,
    report: Report,
) -> None:
    if source == EMBEDDED:
        _fetch_embedded(folder)
        return
    download = folder / SCRATCH
    download.mkdir()
    if source.startswith(KAGGLE):
        _choose_kaggle(source.removeprefix(KAGGLE), folder, wanted, retries, report)
    elif re.match(r"https?://", source):
        _choose(_fetch_mirror(source, download, checksums, retries, report), folder, wanted)
    elif re.match(r"[a-z][a-z0-9+.]*:/", source):
        raise DataError("must be embedded, kaggle:<owner>/<dataset>, https://... or a path")
    else:
        # Path.expanduser raises for a user that does not exist.
        _choose(Path(os.path.expanduser(source)), folder, wanted)  # noqa: PTH111
    shutil.rmtree(download)


def _fetch_embedded(folder: Path) -> None:
    sample = read_sample()
    write_idx(folder / "train-images-idx3-ubyte", sample.images)
    write_idx(folder / "train-labels-idx1-ubyte", sample.labels)


def _choose_kaggle(
    name: str, folder: Path, wanted: str | None, retries: int, report: Report
) -> None:
    """Download a Kaggle dataset or competition and copy its training and test files."""
    if not re.fullmatch(r"[\w-]+/[\w-]+", name):
        raise DataError(
            "must name a dataset as kaggle:<owner>/<dataset> or a competition as "
            f"kaggle:competitions/<name>, got {name}"
        )
    from pipeline.raw.kaggle import download_kaggle

    def report_failure(failure: str) -> None:
        report(f"source {KAGGLE}{name}: {failure}")

    try:
        unpacked = download_kaggle(name, folder / SCRATCH / "kaggle", retries, report_failure)
        _choose(unpacked, folder, wanted)
    except (DataError, tarfile.TarError, *UNZIP_ERRORS) as error:
        raise DataError(f"Kaggle: {in_one_line(error)}") from error


def _fetch_mirror(
    url: str, folder: Path, checksums: dict[str, str], retries: int, report: Report
) -> Path:
    """Download the files of a URL that ends in '/', or a single file, and return the path.

    The files are those of MNIST, or those that have a checksum if they are called otherwise.
    """
    name = re.split(r"[?#]", url)[0].rpartition("/")[2]
    several = IDX_FILES if set(IDX_FILES) & set(checksums) or not checksums else tuple(checksums)
    for part in [name] if name else several:
        _download(url if name else url + part, part, folder, checksums, retries, report)
    return folder / name


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


def _choose(path: Path, folder: Path, wanted: str | None) -> None:
    """Copy the files of a set from a folder, an archive or a single file."""
    scratch = folder / SCRATCH / "unpacked"
    if path.is_dir():
        files = with_tables(files_in(path), scratch)
        archives = [file for file in files.values() if is_archive(file)]
        if len(archives) == 1 and not any(map(format_of, files)):
            files = unpack(archives[0], scratch)
    elif not path.exists():
        looked = "" if path.is_absolute() else f", looked for {path.absolute()}"
        raise DataError(f"does not exist{looked}")
    elif not path.is_file():
        raise DataError("must be a file or a folder, not a device or a pipe")
    elif is_archive(path):
        files = unpack(path, scratch)
    else:
        files = {path.name: path}
    try:
        chosen = find_set(files, wanted).names()
    except DataError as error:
        if not path.is_dir() and set(files) == {path.name} and "beside it" in str(error):
            raise DataError(f"is one file of a set; name its folder, {path.parent}") from error
        raise
    for name in chosen:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.move if files[name].is_relative_to(folder) else shutil.copyfile
        copy(files[name], folder / name)
