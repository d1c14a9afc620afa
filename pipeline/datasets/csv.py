"""Images as CSV: a label and 784 pixels a row, in every layout that is handed around.

Kaggle writes a header (`label,1x1,...`, `label,pixel1,...`, `label,pixel0,...`) and CRLF line
ends, Colab neither. Kaggle's competition `test.csv` has no label.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, LabelledImages, collect
from pipeline.datasets.unpacking import Unpacked
from pipeline.errors import DataError

BLOCK = 2 << 20
"""Bytes that a parsing thread takes at once. pyarrow reads 32 such blocks ahead: 64 MB."""


def csv_blocks(path: Path) -> Iterator[LabelledImages]:
    """Read a CSV file (gzip if it ends in .gz) block by block with pyarrow's streaming parser.

    Raises DataError, naming the file and the row or column, for a short row, text, a pixel or
    label outside 0..255, another number of columns, or no rows, once it comes to that place.
    """
    names, has_header = _columns(path)
    label = names.index("label") if has_header else 0
    empty = True
    try:
        try:
            for batch in _parse(path, names, has_header, use_threads=True):
                if batch.num_rows:
                    empty = False
                    yield _images(batch, label)
        except pa.ArrowInvalid:  # many threads do not know the row's number, one does
            for _ in _parse(path, names, has_header, use_threads=False):
                pass
            raise
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} {_reason(str(error))}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if empty:
        raise DataError(f"{path} has no rows")


def read_csv(path: Path) -> LabelledImages:
    """Read a CSV file whole. Raises DataError likewise."""
    return collect(csv_blocks(path))


def has_labels(path: Path) -> bool:
    """Say whether a CSV file has a label column; one with a header and no `label` has not."""
    first = _first_line(path)
    return _is_number(first[0]) or "label" in first


def _open(path: Path) -> BinaryIO | Unpacked:
    return Unpacked(path) if path.suffix.lower() == ".gz" else open(path, "rb")


def _parse(
    path: Path, names: list[str], has_header: bool, *, use_threads: bool
) -> Iterator[pa.RecordBatch]:
    with (
        _open(path) as file,
        csv.open_csv(
            # pyarrow reads a path by itself, which is faster, but unpacks a bomb without end.
            file if isinstance(file, Unpacked) else path,
            read_options=csv.ReadOptions(
                column_names=names,
                skip_rows=int(has_header),
                block_size=BLOCK,
                use_threads=use_threads,
            ),
            # Without this, a quote that is never closed would swallow the rest of its block unseen.
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.uint8()), null_values=[]
            ),
        ) as reader,
    ):
        yield from reader


def _images(batch: pa.RecordBatch, label: int) -> LabelledImages:
    rows = np.ascontiguousarray(batch.remove_column(label).to_tensor().to_numpy())
    return LabelledImages(rows.reshape(-1, HEIGHT, WIDTH), batch.column(label).to_numpy())


def _columns(path: Path) -> tuple[list[str], bool]:
    """Give the column names and whether the file itself carries them."""
    first = _first_line(path)
    has_header = not _is_number(first[0])
    if has_header and "label" not in first:
        raise DataError(f"{path} must have a column named label, got {first[0]}, ...")
    if len(first) != PIXELS + 1:
        raise DataError(
            f"{path} must have {PIXELS + 1} columns (label and pixels), got {len(first)}"
        )
    if has_header and len(set(first)) != len(first):
        raise DataError(f"{path} names a column twice in its header")
    return (first if has_header else ["label", *map(str, range(PIXELS))]), has_header


def _first_line(path: Path) -> list[str]:
    try:
        with _open(path) as file:
            line = file.read(1 << 16).partition(b"\n")[0].decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not text: {error.reason}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not line:
        raise DataError(f"{path} has no rows")
    return [name.strip().strip('"') for name in line.split(",")]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?\d+(\.\d*)?", text) is not None


def _reason(message: str) -> str:
    """Put pyarrow's words for a bad row or value into one short line."""
    if found := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message):
        row, expected, actual = found.groups()
        return f"must have {expected} columns in every row, got {actual} in row {row}"
    if found := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.{0,40})", message):
        column, row, value = int(found[1]) + 1, found[2], found[3].split("'")[0]
        return f"must hold whole numbers from 0 to 255, got '{value}' in row {row}, column {column}"
    if "Could not skip" in message:  # a header without an end of line
        return "has no rows"
    if "straddl" in message:
        return f"has a line, or a cell in quotes, that does not end within {BLOCK} bytes"
    return f"is not a CSV file of images: {message.splitlines()[0][:200]}"
