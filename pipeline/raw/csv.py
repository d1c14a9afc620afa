"""Tables of images as text: a label and 784 pixels per row, in every common layout.

Kaggle writes a header (`label,1x1,...`, `label,pixel1,...`, `label,pixel0,...`) and CRLF line
endings, Colab neither; pandas adds a column that counts the rows, and NumPy writes 2.53e+02. The
`test.csv` of a Kaggle competition has no labels. ARFF, as OpenML has it, is CSV after its header.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from pipeline.base.errors import DataError
from pipeline.base.unpack import Unpacked
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, LabelledImages
from pipeline.raw.columns import Columns, Values, columns_by_name, columns_by_value
from pipeline.raw.contents import Content, NoImagesError, Reading, Table, as_labels
from pipeline.raw.greys import scaled, survey
from pipeline.raw.layout import Layout, is_remark, opened, read_layout

BLOCK = 2 << 20
"""Bytes per block that a thread parses. pyarrow reads 32 blocks ahead: 64 MB."""
DISTINCT = 257
"""Values that are told apart when looking for labels: one more than there may be classes."""


def csv_contents(path: Path) -> list[Content]:
    """Return the table in a file. Raises NoImagesError if it has too few columns for images."""
    layout = read_layout(path)
    if layout.columns < PIXELS // 2:
        raise NoImagesError(
            f"{path} must have {PIXELS + 1} columns (label and pixels), got {layout.columns}"
        )
    return [
        Table(None, lambda reading: csv_blocks(path, reading), labelled=_has_labels(path, layout))
    ]


def csv_blocks(path: Path, reading: Reading) -> Iterator[LabelledImages]:
    """Read a CSV or ARFF file (gzip if it ends in .gz) with pyarrow's streaming parser.

    Raises DataError, naming the file, for a wrong number of columns or no rows, and, naming the row
    or column too, on reaching a row of the wrong length, text, or a value outside 0..255.
    """
    layout = read_layout(path)
    columns = _columns(path, layout)
    if columns.label is None:
        raise DataError(
            f"{path} must have a column named label, or without a header {PIXELS + 1} columns "
            f"(label and pixels), got {layout.columns} columns without labels"
        )
    if layout.names is None and columns.label > columns.pixels[0]:
        reading.say(f"{path} names no label column; its labels are in column {columns.label + 1}")
    empty = True
    for block in _blocks(path, layout, columns, reading):
        if len(block):
            empty = False
            yield block
    if empty:
        raise DataError(f"{path} has no rows")


def images_of(batch: pa.RecordBatch, label: int) -> LabelledImages:
    """Return the images of a batch of uint8 columns; the labels are in column number `label`."""
    every = batch.to_tensor().to_numpy()
    rows = np.ascontiguousarray(np.delete(every, label, axis=1))
    return LabelledImages(rows.reshape(-1, HEIGHT, WIDTH), np.ascontiguousarray(every[:, label]))


def _has_labels(path: Path, layout: Layout) -> bool:
    """Whether a table has a label column, as far as its first line tells."""
    if layout.names is None:
        return layout.columns != PIXELS
    return columns_by_name(path, layout.names).label is not None


def _columns(path: Path, layout: Layout) -> Columns:
    if layout.names is not None:
        return columns_by_name(path, layout.names)
    if layout.columns == PIXELS:
        return Columns(None, tuple(range(PIXELS)))
    if layout.columns not in (PIXELS + 1, PIXELS + 2):
        raise DataError(
            f"{path} must have {PIXELS + 1} columns (label and pixels), got {layout.columns}"
        )
    return columns_by_value(path, layout.columns, _values(path, layout))


def _values(path: Path, layout: Layout) -> dict[int, Values]:
    """Return the values of the first, second and last column."""
    numbers = (0, 1, layout.columns - 1)
    counts: dict[int, dict[float, int]] = {number: {} for number in numbers}
    running, before = True, None
    for batch in _parse(path, layout, numbers, pa.float64()):
        for number, column in zip(numbers, batch.columns, strict=True):
            found, times = np.unique(column.to_numpy(), return_counts=True)
            seen = counts[number]
            for value, count in zip(found.tolist(), times.tolist(), strict=True):
                if value in seen or len(seen) < DISTINCT:
                    seen[value] = seen.get(value, 0) + count
        rows = batch.column(0).to_numpy()
        running &= bool(
            (np.diff(rows, prepend=rows[0] - 1 if before is None else before) == 1).all()
        )
        before = rows[-1]
    if before is None:
        raise DataError(f"{path} has no rows")
    return {number: Values(seen, running) for number, seen in counts.items()}


def _blocks(
    path: Path, layout: Layout, columns: Columns, reading: Reading
) -> Iterator[LabelledImages]:
    chosen = (columns.label or 0, *columns.pixels)
    if not layout.fractions:
        for batch in _parse(path, layout, chosen, pa.uint8()):
            yield images_of(batch, 0)
        return

    def rows() -> Iterator[NDArray[Any]]:
        for batch in _parse(path, layout, chosen, pa.float32()):
            yield batch.to_tensor().to_numpy()

    def where(image: int, pixel: int) -> str:
        return f"in row {layout.start + image + 1}, column {columns.pixels[pixel] + 1}"

    greys = survey(path, (block[:, 1:] for block in rows()))
    factor = 1 if greys is None else greys.factor(path, where)
    if factor != 1:
        reading.say(f"{path} has pixels from 0 to 1, which are multiplied by {factor}")
    for block in rows():
        pixels = np.ascontiguousarray(scaled(block[:, 1:], factor))
        yield LabelledImages(pixels.reshape(-1, HEIGHT, WIDTH), as_labels(path, block[:, 0]))


def _parse(
    path: Path, layout: Layout, columns: Sequence[int], kind: pa.DataType
) -> Iterator[pa.RecordBatch]:
    """Yield batches of some columns, as numbers of one type.

    Raises DataError, with the position, for a row of the wrong length or a value of another type.
    """
    try:
        try:
            yield from _batches(path, layout, columns, kind, use_threads=True)
        except pa.ArrowInvalid:  # only a single-threaded parser reports the number of the row
            for _ in _batches(path, layout, columns, kind, use_threads=False):
                pass
            raise
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} {_reason(str(error), kind)}") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def _batches(
    path: Path, layout: Layout, columns: Sequence[int], kind: pa.DataType, *, use_threads: bool
) -> Iterator[pa.RecordBatch]:
    names = [str(number) for number in range(layout.columns + layout.trailing)]
    ignored = names[layout.columns :]
    with (
        opened(path) as file,
        csv.open_csv(
            # pyarrow reads a path faster than a file, but would decompress a bomb without limit.
            file if isinstance(file, Unpacked) else path,
            read_options=csv.ReadOptions(
                column_names=names,
                skip_rows=layout.start,
                block_size=BLOCK,
                use_threads=use_threads,
            ),
            parse_options=csv.ParseOptions(
                delimiter=layout.separator,
                quote_char=layout.quote,
                # Without this, an unclosed quote would silently swallow the rest of its block.
                newlines_in_values=True,
                invalid_row_handler=lambda row: "skip" if is_remark(row.text, layout) else "error",
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, kind) | dict.fromkeys(ignored, pa.string()),
                include_columns=[str(number) for number in columns] + ignored,
                null_values=[],
                decimal_point=layout.decimal_point,
            ),
        ) as reader,
    ):
        for batch in reader:
            if not ignored:
                yield batch
                continue
            if any(text.as_py() for text in batch.column(len(columns)).unique()):
                raise DataError(f"{path} must have nothing after the last separator of a row")
            yield batch.select(range(len(columns)))


def _reason(message: str, kind: pa.DataType) -> str:
    """Return pyarrow's message about a bad row or value as one short line."""
    if found := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", message):
        row, expected, actual = found.groups()
        return f"must have {expected} columns in every row, got {actual} in row {row}"
    if found := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.{0,40})", message):
        column, row, value = int(found[1]) + 1, found[2], found[3].split("'")[0]
        rule = "whole numbers from 0 to 255" if kind == pa.uint8() else "numbers"
        return f"must hold {rule}, got '{value}' in row {row}, column {column}"
    if "Could not skip" in message:  # a header without a line ending
        return "has no rows"
    if "straddl" in message:
        return f"must have lines and quoted cells of at most {BLOCK} bytes, got a longer one"
    return f"is not a table of numbers: {message.splitlines()[0][:200]}"
