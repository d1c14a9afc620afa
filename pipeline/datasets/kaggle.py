"""Kaggle datasets, through Kaggle's own client, within our limits."""

import shutil
from collections.abc import Callable
from pathlib import Path

from pipeline.datasets.downloading import limited_requests
from pipeline.datasets.retrying import DamagedError, with_retries
from pipeline.errors import DataError, in_one_line


def download_kaggle(
    dataset: str, folder: Path, retries: int, report: Callable[[str], None]
) -> Path:
    """Unpack `<owner>/<dataset>` into `folder` and give the folder of its files.

    In Kaggle's and Colab's notebooks that is where these keep it. kagglehub's own cache is left
    aside: two runs would write into it at once, and it takes a whole archive that lies there for a
    good one without looking at it again. Raises DataError, in one line, if there are no files.
    """
    try:
        from kagglehub import dataset_download, exceptions
    except RuntimeError as error:  # it looks for a home folder even if it needs none
        raise DataError(in_one_line(error)) from error

    def attempt() -> str:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            with limited_requests():
                return str(dataset_download(dataset, output_dir=str(folder)))
        except exceptions.DataCorruptionError as error:
            raise DamagedError(in_one_line(error)) from error

    try:
        return Path(with_retries(attempt, retries, report))
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
