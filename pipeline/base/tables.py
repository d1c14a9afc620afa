"""Tables of results as CSV files: columns by name."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.files import whole_file

Table = dict[str, NDArray[Any]]
"""Columns of equal length: whole numbers, floats or text."""


def write_table(path: Path, table: Mapping[str, Iterable[Any]]) -> None:
    """Write columns as CSV, floats with six significant digits, missing values as nothing."""
    with (
        whole_file(path) as temporary,
        open(temporary, "w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(table)
        writer.writerows(zip(*(map(_cell, column) for _, column in table.items()), strict=True))


def read_table(path: Path, text: tuple[str, ...] = ()) -> Table:
    """Read a CSV table, columns `text` as text, even where that looks like a number.

    Raises DataError if the file is missing or is not a table.
    """
    try:
        with open(path, encoding="utf-8", newline="") as file:
            names, *rows = csv.reader(file, strict=True)
        columns = list(zip(*rows, strict=True)) or [()] * len(names)
        return {
            name: np.array(column) if name in text else _numbers(column)
            for name, column in zip(names, columns, strict=True)
        }
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV table: {error}") from error


def _cell(value: Any) -> Any:
    if value is None or value != value:  # NaN differs from itself
        return ""
    return f"{value:.6g}" if isinstance(value, float | np.floating) else value


def _numbers(column: tuple[str, ...]) -> NDArray[Any]:
    try:
        return np.array(column, np.int64)
    except ValueError:
        return np.array([value or "nan" for value in column], np.float64)
