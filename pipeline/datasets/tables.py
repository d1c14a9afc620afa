"""Labelled images as Parquet: columns `label` and `image`, and what they are in the metadata.

Pixels are stored as `uint8` after `convert` and as `float32` after `split`. A normalised pixel
takes one of 256 values, so dictionary encoding keeps the second file as small as the first. The
same content gives the same bytes. A table may be larger than memory: it is written from blocks and
read as blocks, or whole where memory suffices.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, ImageSet, LabelledImages, collect
from pipeline.datasets.parquet import Piece, PixelFile, open_pixels, read_ahead, write_pixels
from pipeline.datasets.splitting import Normalization
from pipeline.errors import DataError


@dataclass(frozen=True)
class Description:
    """What a table holds, kept in its schema metadata.

    source: which published set the content is, or its digests; the same for every wrapping.
    """

    dataset: str
    class_names: tuple[str, ...]
    source: str


class ExampleSet(Protocol):
    """Normalised images, ready for a network, wherever they are kept. labels: (N,) uint8."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all examples, in order."""

    @property
    def description(self) -> Description:
        """What the images are."""

    @property
    def normalization(self) -> Normalization:
        """How their pixels became inputs."""

    def __len__(self) -> int:
        """Count the examples."""

    def blocks(self) -> "Iterator[Examples]":
        """Give all examples once, in order, so many at a time as memory holds with ease."""


@dataclass(frozen=True)
class Examples:
    """Normalised images, all in memory. inputs: (N, 784) float32; labels: (N,) uint8."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.uint8]
    description: Description
    normalization: Normalization

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> "Examples":
        """Give the first `count` examples, or all if there are fewer or `count` is None."""
        return Examples(
            self.inputs[:count], self.labels[:count], self.description, self.normalization
        )

    def blocks(self) -> "Iterator[Examples]":
        """Give all examples as a single block."""
        yield self


@dataclass(frozen=True)
class NormalizedImages:
    """Images of which each block becomes examples when it is asked for."""

    images: ImageSet
    description: Description
    normalization: Normalization

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all images, in order."""
        return self.images.labels

    def __len__(self) -> int:
        return len(self.images)

    def blocks(self) -> Iterator[Examples]:
        """Give the images' blocks, normalised."""
        for block in self.images.blocks():
            inputs = self.normalization.apply(block.images)
            yield Examples(inputs, block.labels, self.description, self.normalization)


@dataclass(frozen=True)
class StoredImages:
    """Raw images in a Parquet file, read as often as they are asked for."""

    file: PixelFile
    description: Description

    @cached_property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all images, in order."""
        return self.file.labels()

    def __len__(self) -> int:
        return self.file.rows

    def blocks(self) -> Iterator[LabelledImages]:
        """Give all images in order, PIECE at a time. Raises DataError for a damaged file."""
        for pixels, labels in self.file.pieces(range(len(self.file.group_rows)), self.file.rows):
            yield LabelledImages(pixels.reshape(-1, HEIGHT, WIDTH), labels)


@dataclass(frozen=True)
class StoredExamples:
    """Examples in a Parquet file, read as often as they are asked for.

    count: how many, from the first on.
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
        """Give the first `count` examples, or all if there are fewer or `count` is None."""
        return self if count is None else replace(self, count=min(count, self.count))

    def blocks(self) -> Iterator[Examples]:
        """Give all examples in order, PIECE at a time, the next one read in the meantime.

        Raises DataError for a damaged file.
        """
        return self._examples(self.file.pieces(range(len(self.file.group_rows)), self.count))

    def shuffled_blocks(self, rng: np.random.Generator) -> Iterator[Examples]:
        """Give all examples with the file's row groups in an order that `rng` draws.

        Within a row group they come in the file's order. Raises DataError likewise.
        """
        starts = np.cumsum([0, *self.file.group_rows[:-1]])
        rows = np.clip(self.count - starts, 0, self.file.group_rows)
        order = rng.permutation(np.flatnonzero(rows)).tolist()
        return self._examples(
            piece for group in order for piece in self.file.pieces([group], int(rows[group]))
        )

    def read(self) -> Examples:
        """Hold all examples in memory. Raises DataError likewise."""
        inputs = np.empty((len(self), PIXELS), np.float32)
        labels = np.empty(len(self), np.uint8)
        end = 0
        for block in self.blocks():
            start, end = end, end + len(block)
            inputs[start:end], labels[start:end] = block.inputs, block.labels
        return Examples(inputs, labels, self.description, self.normalization)

    def _examples(self, pieces: Iterator[Piece]) -> Iterator[Examples]:
        for inputs, labels in read_ahead(pieces):
            yield Examples(inputs, labels, self.description, self.normalization)


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
    """Find what `write_images` wrote. Raises DataError for anything else."""
    file = open_pixels(path, pa.uint8())
    return StoredImages(file, _description(file))


def open_examples(path: Path) -> StoredExamples:
    """Find what `write_examples` wrote. Raises DataError for anything else."""
    file = open_pixels(path, pa.float32())
    try:
        normalization = Normalization(**json.loads(file.metadata[b"normalization"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has no normalization in its metadata") from error
    return StoredExamples(file, _description(file), normalization, file.rows)


def read_images(path: Path) -> tuple[LabelledImages, Description]:
    """Read what `write_images` wrote whole. Raises DataError for anything else."""
    stored = open_images(path)
    return collect(stored.blocks()), stored.description


def read_examples(path: Path) -> Examples:
    """Read what `write_examples` wrote whole. Raises DataError for anything else."""
    return open_examples(path).read()


def _metadata(description: Description) -> dict[str, str]:
    return {
        "dataset": description.dataset,
        "shape": json.dumps([HEIGHT, WIDTH]),
        "class_names": json.dumps(description.class_names),
        "source": description.source,
    }


def _description(file: PixelFile) -> Description:
    metadata = file.metadata
    try:
        return Description(
            metadata[b"dataset"].decode(),
            tuple(json.loads(metadata[b"class_names"])),
            metadata[b"source"].decode(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file.path} does not say what it holds in its metadata") from error
