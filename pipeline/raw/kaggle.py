"""Kaggle datasets and competitions, downloaded with Kaggle's own client."""

import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.base.errors import DataError, in_one_line
from pipeline.raw.http import DamagedError, with_retries

COMPETITIONS = "competitions/"


def download_kaggle(name: str, folder: Path, retries: int, report: Callable[[str], None]) -> Path:
    """Download and unpack `<owner>/<dataset>` or `competitions/<name>`, and return its folder.

    That is `folder`, except in Kaggle and Colab notebooks, which keep datasets elsewhere. The cache
    of kagglehub is not used: concurrent runs would write to it, and it accepts an archive that is
    already there without verifying it. Raises DataError, in one line, if the download fails.
    """
    try:
        from kagglehub import competition_download, dataset_download, exceptions
    except RuntimeError as error:  # no home folder, although it is not needed
        raise DataError(in_one_line(error)) from error

    def attempt() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            if name.startswith(COMPETITIONS):
                competition = name.removeprefix(COMPETITIONS)
                return str(competition_download(competition, output_dir=str(folder)))
            return str(dataset_download(name, output_dir=str(folder)))
        except exceptions.DataCorruptionError as error:
            raise DamagedError(in_one_line(error)) from error

    try:
        return Path(with_retries(attempt, retries, report))
    except exceptions.UnauthenticatedError as error:
        raise DataError(
            f"{in_one_line(error)}: set KAGGLE_USERNAME and KAGGLE_KEY, from Kaggle's settings"
        ) from error
    except (
        exceptions.BackendError,
        exceptions.ColabEnvironmentError,
        exceptions.CredentialError,
        exceptions.KaggleEnvironmentError,
        exceptions.NotFoundError,
        OSError,
        ValueError,
    ) as error:
        raise DataError(in_one_line(error)) from error
