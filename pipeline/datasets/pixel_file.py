"""A Parquet file of pixels and labels, written in row groups and read in pieces.

Memory therefore does not grow with the number of rows. `pipeline.datasets.parquet` defines what the
rows mean.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.files import whole_file
from pipeline.datasets.images import PIXELS

ROW_GROUP = 16_384
PIECE = 4_096
"""Rows per read."""

Piece = tuple[NDArray[Any], NDArray[np.uint8]]
"""Pixels (n, 784) and labels (n,) of some rows."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class PixelFile:
    """A Parquet file with columns `label` and `image`. group_rows: rows per row group."""

    path: Path
    metadata: dict[bytes, bytes]
    group_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(self.group_rows)

    def labels(self) -> NDArray[np.uint8]:
        """Read only the labels. Raises DataError for a damaged file."""
        with _readable(self.path), pq.ParquetFile(self.path, pre_buffer=False) as file:
            labels = file.read(["label"])["label"]
        _refuse_nulls(self.path, labels)
        return np.concatenate([np.empty(0, np.uint8), *map(as_numpy, labels.chunks)])

    def pieces(self, groups: Sequence[int], rows: int) -> Iterator[Piece]:
        """Read the first `rows` rows of some row groups, PIECE at a time, across their boundaries.

        Raises DataError for a damaged file.
        """
        with _readable(self.path), pq.ParquetFile(self.path, pre_buffer=False) as file:
            for batch in file.iter_batches(PIECE, row_groups=list(groups), use_threads=False):
                labels, images = batch.column("label"), batch.column("image")
                pixels = images.flatten()
                _refuse_nulls(self.path, labels, images, pixels)
                yield as_numpy(pixels).reshape(-1, PIXELS)[:rows], as_numpy(labels)[:rows]
                rows -= len(batch)
                if rows <= 0:
                    return
        if rows:
            raise DataError(f"{self.path} ends {rows} rows too early")


def open_pixels(path: Path, kind: pa.DataType) -> PixelFile:
    """Open a file written by `write_pixels`. Raises DataError for any other file."""
    with _readable(path), pq.ParquetFile(path, pre_buffer=False) as file:
        schema, footer = file.schema_arrow, file.metadata
    if (
        schema.names != ["label", "image"]
        or not pa.types.is_fixed_size_list(schema.field("image").type)
        or schema.field("image").type.list_size != PIXELS
        or schema.field("image").type.value_type != kind
        or schema.field("label").type != pa.uint8()
    ):
        raise DataError(f"{path} must have columns label: uint8, image: {kind}[{PIXELS}]")
    rows = (footer.row_group(group).num_rows for group in range(footer.num_row_groups))
    return PixelFile(path, schema.metadata or {}, tuple(rows))


def write_pixels(
    path: Path,
    pieces: Iterable[Piece],
    kind: pa.DataType,
    metadata: dict[str, str],
    *,
    dictionary: bool,
) -> None:
    """Write rows in row groups of ROW_GROUP. The bytes do not depend on the sizes of the pieces."""
    schema = pa.schema(
        [
            pa.field("label", pa.uint8(), nullable=False),
            pa.field(
                "image", pa.list_(pa.field("pixel", kind, nullable=False), PIXELS), nullable=False
            ),
        ],
        metadata=metadata,
    )
    with (
        whole_file(path) as temporary,
        pq.ParquetWriter(
            temporary,
            schema,
            compression="zstd",
            compression_level=1,
            use_dictionary=["image.list.element"] if dictionary else False,
            write_statistics=False,
        ) as writer,
    ):
        for pixels, labels in recut(pieces, repeat(ROW_GROUP)):
            images = pa.FixedSizeListArray.from_arrays(
                from_numpy(pixels.reshape(-1), kind), type=schema.field("image").type
            )
            table = pa.Table.from_arrays([from_numpy(labels, pa.uint8()), images], schema=schema)
            writer.write_table(table)


def as_numpy(array: pa.Array) -> NDArray[Any]:
    """Return a view of an array of numbers without nulls.

    pyarrow's own conversions do the same, but import pandas, which takes longer than they do.
    """
    return np.frombuffer(
        array.buffers()[1], array.type.to_pandas_dtype(), count=len(array) + array.offset
    )[array.offset :]


def from_numpy(values: NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return an array that is a view of contiguous values of type `kind`."""
    buffer = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def recut(pieces: Iterable[Piece], sizes: Iterable[int]) -> Iterator[Piece]:
    """Join and cut pieces to the given sizes; the last piece may be smaller."""
    wanted = iter(sizes)
    parts: list[Piece] = []
    missing = next(wanted, 0)
    for pixels, labels in pieces:
        start = 0
        while missing and start < len(labels):
            part = slice(start, start + missing)
            parts.append((pixels[part], labels[part]))
            start, missing = start + len(labels[part]), missing - len(labels[part])
            if not missing:
                yield _joined(parts)
                parts, missing = [], next(wanted, 0)
    if parts:
        yield _joined(parts)


def _joined(parts: list[Piece]) -> Piece:
    if len(parts) == 1:
        return parts[0]
    pixels, labels = zip(*parts, strict=True)
    return np.concatenate(pixels), np.concatenate(labels)


def read_ahead(items: Iterator[Item]) -> Iterator[Item]:
    """Yield items in order, while a thread computes the next one."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Convert pyarrow's errors about a file to DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not a Parquet file of images: {reason}") from error


def _refuse_nulls(path: Path, *columns: pa.Array | pa.ChunkedArray) -> None:
    if any(column.null_count for column in columns):
        raise DataError(f"{path} must have no missing labels or pixels, got nulls")
