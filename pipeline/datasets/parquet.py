"""Labelled images as Parquet: columns `label` and `image`, with a description as metadata.

Pixels are stored as `uint8` after `convert` and as `float32` after `split`. A normalised pixel
takes one of 256 values, so dictionary encoding keeps the second file as small as the first. The
same content gives the same bytes. A file may be larger than memory: it is written and read in
blocks, or read whole if it fits.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import cast, get_args

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.datasets.examples import Description, Examples, ExampleSet, Pictures
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, ImageSet, LabelledImages
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.pixel_file import Piece, PixelFile, open_pixels, read_ahead, write_pixels


@dataclass(frozen=True)
class StoredImages:
    """Raw images in a Parquet file, read from disk at each use."""

    file: PixelFile
    description: Description

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all images, in order."""
        return self.file.labels()

    def __len__(self) -> int:
        return self.file.rows

    def blocks(self) -> Iterator[LabelledImages]:
        """Yield all images in order, PIECE at a time. Raises DataError for a damaged file."""
        for pixels, labels in self.file.pieces(range(len(self.file.group_rows)), self.file.rows):
            yield LabelledImages(pixels.reshape(-1, HEIGHT, WIDTH), labels)


@dataclass(frozen=True)
class StoredExamples:
    """Examples in a Parquet file, read from disk at each use.

    count: number of examples, starting with the first.
    """

    file: PixelFile
    description: Description
    normalization: Normalization
    count: int

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all examples, in order."""
        return self.file.labels()[: self.count]

    def __len__(self) -> int:
        return self.count

    def first(self, count: int | None) -> "StoredExamples":
        """Return the first `count` examples, or all if there are fewer or `count` is None."""
        return self if count is None else replace(self, count=min(count, self.count))

    def blocks(self) -> Iterator[Examples]:
        """Yield all examples in order, PIECE at a time, while a thread reads the next block.

        Raises DataError for a damaged file.
        """
        pieces = self.file.pieces(range(len(self.file.group_rows)), self.count)
        for inputs, labels in read_ahead(pieces):
            yield Examples(inputs, labels, self.description, self.normalization)

    def shuffled_blocks(self, rng: np.random.Generator) -> Iterator[tuple[int, Examples]]:
        """Yield all examples, with the row groups of the file in an order drawn from `rng`.

        Each block comes with its first row in the file. The order within a row group is that of the
        file. Raises DataError for a damaged file.
        """
        starts = np.cumsum([0, *self.file.group_rows[:-1]])
        rows = np.clip(self.count - starts, 0, self.file.group_rows)
        order = rng.permutation(np.flatnonzero(rows)).tolist()

        def pieces() -> Iterator[tuple[int, Piece]]:
            for group in order:
                row = int(starts[group])
                for piece in self.file.pieces([group], int(rows[group])):
                    yield row, piece
                    row += len(piece[1])

        for row, (inputs, labels) in read_ahead(pieces()):
            yield row, Examples(inputs, labels, self.description, self.normalization)

    def read(self) -> Examples:
        """Read all examples into memory. Raises DataError for a damaged file."""
        inputs = np.empty((len(self), PIXELS), np.float32)
        labels = np.empty(len(self), np.uint8)
        end = 0
        for block in self.blocks():
            start, end = end, end + len(block)
            inputs[start:end], labels[start:end] = block.inputs, block.labels
        return Examples(inputs, labels, self.description, self.normalization)


def write_images(path: Path, data: ImageSet, description: Description) -> None:
    """Write raw images as `image: fixed_size_list<uint8>[784]`."""
    pieces = ((block.images, block.labels) for block in data.blocks())
    write_pixels(path, pieces, pa.uint8(), _metadata(description), dictionary=False)


def write_examples(path: Path, examples: ExampleSet) -> None:
    """Write normalised images as `image: fixed_size_list<float>[784]`."""
    metadata = _metadata(examples.description) | {
        "normalization": json.dumps(asdict(examples.normalization))
    }
    pieces = ((block.inputs, block.labels) for block in examples.blocks())
    write_pixels(path, pieces, pa.float32(), metadata, dictionary=True)


def open_images(path: Path) -> StoredImages:
    """Open a file written by `write_images`. Raises DataError for any other file."""
    file = open_pixels(path, pa.uint8())
    return StoredImages(file, _description(file))


def open_examples(path: Path) -> StoredExamples:
    """Open a file written by `write_examples`. Raises DataError for any other file."""
    file = open_pixels(path, pa.float32())
    try:
        normalization = Normalization(**json.loads(file.metadata[b"normalization"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has no normalization in its metadata") from error
    return StoredExamples(file, _description(file), normalization, file.rows)


def read_examples(path: Path) -> Examples:
    """Read a file written by `write_examples` into memory. Raises DataError for any other file."""
    return open_examples(path).read()


def _metadata(description: Description) -> dict[str, str]:
    changes = {"changes": json.dumps(description.changes)} if description.changes else {}
    return changes | {
        "dataset": description.dataset,
        "shape": json.dumps([HEIGHT, WIDTH]),
        "class_names": json.dumps(description.class_names),
        "source": description.source,
        "pictures": description.pictures,
    }


def _description(file: PixelFile) -> Description:
    metadata = file.metadata
    try:
        pictures = metadata[b"pictures"].decode()
        if pictures not in get_args(Pictures):
            raise ValueError(f"pictures must be one of {get_args(Pictures)}, got {pictures}")
        return Description(
            metadata[b"dataset"].decode(),
            tuple(json.loads(metadata[b"class_names"])),
            metadata[b"source"].decode(),
            cast("Pictures", pictures),
            tuple(json.loads(metadata.get(b"changes", b"[]"))),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{file.path} has no description in its metadata; make it again with: dvc repro"
        ) from error
