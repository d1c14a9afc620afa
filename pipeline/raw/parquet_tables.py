"""Parquet tables of images, as Hugging Face and OpenML have them.

An image is a picture (a struct with bytes), a list of 784 numbers or of 28 lists, or 784 columns.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.base.errors import DataError, in_one_line, listed
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, LabelledImages
from pipeline.raw.columns import LABELS, columns_by_name
from pipeline.raw.contents import Content, NoImagesError, Reading, Table, as_labels
from pipeline.raw.greys import as_bytes
from pipeline.raw.pictures import grey_picture

PARQUET_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError)
"""Errors that pyarrow raises for a damaged file."""
BLOCK = 1_024
"""Images per block."""
IMAGES = {"image", "img", "images", "pixels", "pixel_values"}


def parquet_contents(path: Path) -> list[Content]:
    """Return the table in a file. Raises NoImagesError if it has no column or columns of images."""
    schema = _schema(path)
    if not _image_column(schema) and len(schema) < PIXELS // 2:
        raise NoImagesError(
            f"{path} must have a column named image, or {PIXELS} columns of pixels, "
            f"got {listed(schema.names, 10)}"
        )
    labelled = any(name.lower() in LABELS for name in schema.names)
    return [Table(None, lambda reading: parquet_blocks(path, reading), labelled)]


def parquet_blocks(path: Path, reading: Reading) -> Iterator[LabelledImages]:
    """Read a Parquet file block by block.

    Raises DataError, naming the file and the column, for anything but 28x28 images with labels.
    """
    schema = _schema(path)
    if image := _image_column(schema):
        names = [name for name in schema.names if name.lower() in LABELS]
        if len(names) != 1:
            raise DataError(
                f"{path} must have a column named label, got {listed(schema.names, 10)}"
            )
        label, pixels = names[0], [image]
    else:
        columns = columns_by_name(path, schema.names)
        if columns.label is None:
            raise DataError(f"{path} must have a column named label, got {schema.names[0]}, ...")
        label = schema.names[columns.label]
        pixels = [schema.names[number] for number in columns.pixels]
    if len(pixels) == 1 and _is_picture(schema.field(image).type):
        for batch in _batches(path, [label, *pixels]):
            yield LabelledImages(
                _decoded(f"{path} ({image})", batch.column(image)),
                _labels(path, batch.column(label), reading),
            )
        return
    labels: list[NDArray[np.uint8]] = []

    def numbers() -> Iterator[NDArray[Any]]:
        labels.clear()
        for batch in _batches(path, [label, *pixels]):
            labels.append(_labels(path, batch.column(label), reading))
            yield _numbers(path, batch, pixels)

    for images in as_bytes(path, numbers, reading):
        yield LabelledImages(images.reshape(-1, HEIGHT, WIDTH), labels.pop())


def _schema(path: Path) -> pa.Schema:
    try:
        schema = pq.read_schema(path)
    except PARQUET_ERRORS as error:
        raise DataError(f"{path} is not a Parquet file: {in_one_line(error)}") from error
    if len(set(schema.names)) < len(schema.names):
        raise DataError(f"{path} must have no two columns of the same name")
    return schema


def _batches(path: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            yield from file.iter_batches(BLOCK, columns=columns, use_threads=False)
    except PARQUET_ERRORS as error:
        raise DataError(f"{path} is a damaged Parquet file: {in_one_line(error)}") from error


def _image_column(schema: pa.Schema) -> str | None:
    found = [name for name in schema.names if name.lower() in IMAGES]
    return found[0] if found else None


def _is_picture(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(field.name == "bytes" for field in kind)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _decoded(place: str, column: pa.Array) -> NDArray[np.uint8]:
    """Return the pictures of a column as (n, 28, 28) uint8."""
    contents = pc.struct_field(column, "bytes") if pa.types.is_struct(column.type) else column
    images = np.empty((len(contents), HEIGHT, WIDTH), np.uint8)
    for number, content in enumerate(contents):
        if not content.is_valid or not isinstance(content.as_py(), bytes):
            raise DataError(f"{place} must hold the bytes of every picture, got none in a row")
        images[number] = grey_picture(place, content.as_py())
    return images


def _numbers(path: Path, batch: pa.RecordBatch, names: list[str]) -> NDArray[Any]:
    """Return the pixels of a batch as (n, 784) numbers."""
    columns = [batch.column(name) for name in names]
    if len(columns) == 1:
        while pa.types.is_list(columns[0].type) or pa.types.is_fixed_size_list(columns[0].type):
            _refuse_nulls(path, names[0], columns[0])
            columns[0] = columns[0].flatten()
    for name, column in zip(names, columns, strict=True):
        _refuse_nulls(path, name, column)
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise DataError(f"{path} must hold numbers in column {name}, got {column.type}")
    if len(columns) > 1:
        return np.stack([column.to_numpy() for column in columns], axis=1)
    pixels: NDArray[Any] = columns[0].to_numpy()
    if len(pixels) != len(batch) * PIXELS:
        raise DataError(
            f"{path} must hold {PIXELS} numbers per image in column {names[0]}, "
            f"got {len(pixels)} for {len(batch)} images"
        )
    return pixels.reshape(-1, PIXELS)


def _labels(path: Path, column: pa.Array, reading: Reading) -> NDArray[np.uint8]:
    _refuse_nulls(path, "label", column)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return reading.labels_of(path, column.to_pylist())
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        raise DataError(f"{path} must hold numbers or names as labels, got {column.type}")
    return as_labels(path, column.to_numpy())


def _refuse_nulls(path: Path, name: str, column: pa.Array) -> None:
    if column.null_count:
        raise DataError(f"{path} must have no missing values, got some in column {name}")
