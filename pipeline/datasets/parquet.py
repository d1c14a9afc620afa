"""A Parquet file of pixels and labels: written a row group at a time, read in pieces.

So neither takes more memory for more rows. What the rows are is the business of
`pipeline.datasets.tables`.
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

from pipeline.datasets.images import PIXELS
from pipeline.errors import DataError
from pipeline.files import whole_file

ROW_GROUP = 16_384
PIECE = 4_096
"""Rows that are read at once."""

Piece = tuple[NDArray[Any], NDArray[np.uint8]]
"""Some rows' pixels (n, 784) and labels (n,)."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class PixelFile:
    """A Parquet file with columns `label` and `image`. group_rows: rows of each row group."""

    path: Path
    metadata: dict[bytes, bytes]
    group_rows: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Count the rows."""
        return sum(self.group_rows)

    def labels(self) -> NDArray[np.uint8]:
        """Read the labels alone. Raises DataError for a damaged file."""
        with _readable(self.path), pq.ParquetFile(self.path, pre_buffer=False) as file:
            labels = file.read(["label"])["label"]
        _refuse_nulls(self.path, labels)
        every_label: NDArray[np.uint8] = labels.to_numpy()
        return every_label

    def pieces(self, groups: Sequence[int], rows: int) -> Iterator[Piece]:
        """Read the first `rows` rows of some row groups, PIECE at a time, wherever a group ends.

        Raises DataError likewise.
        """
        with _readable(self.path), pq.ParquetFile(self.path, pre_buffer=False) as file:
            for batch in file.iter_batches(PIECE, row_groups=list(groups), use_threads=False):
                labels, images = batch.column("label"), batch.column("image")
                pixels = images.flatten()
                _refuse_nulls(self.path, labels, images, pixels)
                yield pixels.to_numpy().reshape(-1, PIXELS)[:rows], labels.to_numpy()[:rows]
                rows -= len(batch)
                if rows <= 0:
                    return
        if rows:
            raise DataError(f"{self.path} ends {rows} rows before it should")


def open_pixels(path: Path, kind: pa.DataType) -> PixelFile:
    """Find what `write_pixels` wrote. Raises DataError for anything else."""
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
    """Write rows in row groups of ROW_GROUP. The bytes do not depend on how they come in pieces."""
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
                pa.array(pixels.reshape(-1)), type=schema.field("image").type
            )
            table = pa.Table.from_arrays([pa.array(labels), images], schema=schema)
            writer.write_table(table)


def recut(pieces: Iterable[Piece], sizes: Iterable[int]) -> Iterator[Piece]:
    """Put pieces together, and cut them, to the sizes asked for; the last may be smaller."""
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
    """Give items in their order, with a thread that makes the next one in the meantime."""
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, items, None)
        while (item := following.result()) is not None:
            following = thread.submit(next, items, None)
            yield item


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever pyarrow finds wrong with a file into a DataError."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (pa.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not a Parquet file of images: {reason}") from error


def _refuse_nulls(path: Path, *columns: pa.Array | pa.ChunkedArray) -> None:
    if any(column.null_count for column in columns):
        raise DataError(f"{path} must have a label and a pixel in every place, got nulls")
