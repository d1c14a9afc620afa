"""The formats that are read: one line per format, in the order in which they are preferred.

To add one, write a function that returns what a file holds (`pipeline.raw.contents.Look`).
"""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.raw.arrays import npy_contents, npz_contents
from pipeline.raw.contents import Look
from pipeline.raw.csv import csv_contents
from pipeline.raw.idx import idx_contents
from pipeline.raw.matlab import mat_contents
from pipeline.raw.parquet_tables import parquet_contents
from pipeline.raw.pictures import picture_contents


@dataclass(frozen=True)
class Format:
    """A format of files. ending: pattern of the end of a name; by_folder: one file per image."""

    title: str
    ending: re.Pattern[str]
    look: Look
    by_folder: bool = False


def _format(title: str, ending: str, look: Look, *, by_folder: bool = False) -> Format:
    return Format(title, re.compile(f"(?:{ending})$", re.IGNORECASE), look, by_folder)


FORMATS = (
    _format("IDX", r"[-._]idx[123][-._](ubyte|int)(\.gz)?", idx_contents),
    _format("CSV", r"\.[ct]sv(\.gz)?", csv_contents),
    _format("NumPy", r"\.npz", npz_contents),
    _format("NumPy", r"\.npy", npy_contents),
    _format("Parquet", r"\.(parquet|pq)", parquet_contents),
    _format("ARFF", r"\.arff(\.gz)?", csv_contents),
    _format("MATLAB", r"\.mat", mat_contents),
    _format("pictures", r"\.(png|jpe?g|bmp|gif|webp|tiff?|pgm)", picture_contents, by_folder=True),
)
"""Kaggle's Fashion-MNIST archive holds IDX and CSV, with different splits not to be mixed."""

UNREAD = {
    r"\.(pkl|pickle|pt|pth|joblib)(\.gz)?": (
        "is a pickle, which can run any program when it is read, and is not opened; "
        "save its arrays with numpy.savez"
    ),
    r"\.(h5|hdf5)": "is HDF5; save its arrays with numpy.savez",
    r"\.tfrecords?(-\d+-of-\d+)?": "is a TFRecord; save its arrays with numpy.savez",
    r"\.(xlsx?|ods)": "is a spreadsheet; save it as CSV",
    r"\.(7z|rar|xz|bz2)": "is packed in a way that is not read; unpack it",
    r"\.arrow": "is an Arrow file; save it with to_parquet",
}
"""What to do about files that may hold images but are not read, by the end of their names."""


def format_of(name: str) -> Format | None:
    """Return the format of a file by its name, or None."""
    last = PurePosixPath(name).name
    return next((known for known in FORMATS if known.ending.search(last)), None)


def advice(name: str) -> str | None:
    """Return what to do about a file that is not read, or None."""
    last = PurePosixPath(name).name
    for ending, text in UNREAD.items():
        if re.search(f"(?:{ending})$", last, re.IGNORECASE):
            return text
    return None
