"""Where training images are stored: all in memory, or in a file read through a shuffle buffer.

Shuffling from a file works as follows. Every epoch reads the row groups of the file in a new random
order. Their images fill a buffer, and each batch is drawn at random from the buffer. An image is
therefore shuffled only with images read shortly before or after it; a buffer of the size of the
training set shuffles all images together. The split has already stored the images in random order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import SettingsError
from pipeline.datasets.examples import ExampleSet
from pipeline.datasets.images import PIXELS
from pipeline.datasets.parquet import StoredExamples
from pipeline.datasets.pixel_file import PIECE
from pipeline.nn.devices import Engine
from pipeline.nn.layers import Array

Part = tuple[Any, NDArray[np.int64] | None, NDArray[np.int64]]
"""Images held by an engine, the order in which to train on them (None: all in one batch), and their
numbers in the training set."""


class TrainingSet(Protocol):
    """Training images, in memory or in a file."""

    def __len__(self) -> int:
        """Return the number of images."""

    def parts(self, size: int, rng: np.random.Generator) -> Iterator[Part]:
        """Yield all images once, shuffled, in batches of `size` (the last may be smaller)."""


def hold(engine: Engine, examples: ExampleSet, table: NDArray[np.float32] | None = None) -> Any:
    """Return all examples in the form that the engine needs."""
    blocks = ((block.inputs, block.labels) for block in examples.blocks())
    return engine.hold(blocks, len(examples), table)


def training_set(
    engine: Engine, examples: ExampleSet, buffer: int | Literal["all"] = "all"
) -> TrainingSet:
    """Return the training set, in memory or streamed from its file, as `buffer` requires."""
    if buffer == "all" or not isinstance(examples, StoredExamples):
        return HeldImages(hold(engine, examples, examples.normalization.table()))
    return StreamedExamples(engine, examples, buffer)


@dataclass(frozen=True)
class HeldImages:
    """Images held by an engine, all in memory."""

    images: Any

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, size: int, rng: np.random.Generator) -> Iterator[Part]:
        """Yield all images with a new random order, or with None if they fit one batch."""
        order = None if size >= len(self) else rng.permutation(len(self))
        yield self.images, order, np.arange(len(self))


@dataclass(frozen=True)
class StreamedExamples:
    """Examples that are streamed from their file.

    buffer: number of images in memory, 3,150 bytes each, from which batches are drawn.
    """

    engine: Engine
    examples: StoredExamples
    buffer: int

    def __len__(self) -> int:
        return len(self.examples)

    def parts(self, size: int, rng: np.random.Generator) -> Iterator[Part]:
        """Yield all images in whole batches, newly shuffled, several batches at a time."""
        table = self.examples.normalization.table()
        for inputs, labels, numbers in self.batches(size, rng):
            images = self.engine.hold([(inputs, labels)], len(labels), table)
            yield images, np.arange(len(labels)), numbers

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array, Array]]:
        """Yield inputs, labels and numbers in the training set, several batches at a time.

        A batch has `size` images; the last may be smaller.

        The order depends only on `rng`, the buffer and the file's row groups. Raises SettingsError
        if a batch is larger than the buffer.
        """
        buffer = min(self.buffer, len(self))
        if min(size, len(self)) > buffer:
            wanted = f"all {size} images" if size == len(self) else size
            raise SettingsError(
                f"batch_size must be at most shuffle_buffer, {self.buffer}, got {wanted}; "
                "shuffle_buffer: all holds all images in memory"
            )
        inputs = np.empty((buffer + PIECE, PIXELS), np.float32)
        labels, numbers = np.empty(buffer + PIECE, np.uint8), np.empty(buffer + PIECE, np.int64)
        free, waiting = np.arange(buffer + PIECE), np.empty(0, np.int64)  # rows of the two arrays
        for row, block in self.examples.shuffled_blocks(rng):
            places, free = np.split(free, [len(block)])
            inputs[places], labels[places] = block.inputs, block.labels
            numbers[places] = np.arange(row, row + len(block))
            waiting = np.concatenate([waiting, places])
            if len(waiting) > buffer:
                waiting = rng.permutation(waiting)
                batches = -(-(len(waiting) - buffer) // size)
                drawn, waiting = np.split(waiting, [batches * size])
                yield inputs[drawn], labels[drawn], numbers[drawn]
                free = np.concatenate([free, drawn])
        waiting = rng.permutation(waiting)
        some = max(PIECE // size, 1) * size
        for start in range(0, len(waiting), some):
            drawn = waiting[start : start + some]
            yield inputs[drawn], labels[drawn], numbers[drawn]
