"""Images as CSV: a label and 784 pixels per row, in every common layout.

Kaggle writes a header (`label,1x1,...`, `label,pixel1,...`, `label,pixel0,...`) and CRLF line
endings, Colab neither. The `test.csv` of a Kaggle competition has no labels.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
from pyarrow import csv

from pipeline.base.errors import DataError
from pipeline.base.unpack import Unpacked
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, LabelledImages

BLOCK = 2 << 20
"""Bytes per block that a thread parses. pyarrow reads 32 blocks ahead: 64 MB."""


def csv_blocks(path: Path) -> Iterator[LabelledImages]:
    """Read a CSV file (gzip if it ends in .gz) block by block with pyarrow's streaming parser.

    Raises DataError, naming the file, for a wrong number of columns or no rows, and, naming the row
    or column too, on reaching a row of the wrong length, text, or a value outside 0..255.
    """
    names, has_header = _columns(path)
    label = names.index("label") if has_header else 0
    empty = True
    try:
        try:
            for batch in _parse(path, names, has_header, use_threads=True):
                if batch.num_rows:
                    empty = False
                    yield images_of(batch, label)
        except pa.ArrowInvalid:  # only a single-threaded parser reports the number of the row
            for _ in _parse(path, names, has_header, use_threads=False):
                pass
            raise
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} {_reason(str(error))}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if empty:
        raise DataError(f"{path} has no rows")


def has_labels(path: Path) -> bool:
    """Whether a CSV file has a label column. A file without a header always has one."""
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
            # pyarrow reads a path faster than a file, but would decompress a bomb without limit.
            file if isinstance(file, Unpacked) else path,
            read_options=csv.ReadOptions(
                column_names=names,
                skip_rows=int(has_header),
                block_size=BLOCK,
                use_threads=use_threads,
            ),
            # Without this, an unclosed quote would silently swallow the rest of its block.
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.uint8()), null_values=[]
            ),
        ) as reader,
    ):
        yield from reader


def images_of(batch: pa.RecordBatch, label: int) -> LabelledImages:
    """Return the images of a batch of uint8 columns; the labels are in column number `label`."""
    every = batch.to_tensor().to_numpy()
    rows = np.ascontiguousarray(np.delete(every, label, axis=1))
    return LabelledImages(rows.reshape(-1, HEIGHT, WIDTH), np.ascontiguousarray(every[:, label]))


def _columns(path: Path) -> tuple[list[str], bool]:
    """Return the column names and whether the file has a header."""
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
    """Return pyarrow's message about a bad row or value as one short line."""
    if found := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message):
        row, expected, actual = found.groups()
        return f"must have {expected} columns in every row, got {actual} in row {row}"
    if found := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.{0,40})", message):
        column, row, value = int(found[1]) + 1, found[2], found[3].split("'")[0]
        return f"must hold whole numbers from 0 to 255, got '{value}' in row {row}, column {column}"
    if "Could not skip" in message:  # a header without a line ending
        return "has no rows"
    if "straddl" in message:
        return f"must have lines and quoted cells of at most {BLOCK} bytes, got a longer one"
    return f"is not a CSV file of images: {message.splitlines()[0][:200]}"
