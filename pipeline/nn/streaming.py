"""Where the images to train on are kept: all in memory, or in a file that a buffer is drawn from.

What is shuffled with what in a file: its row groups come in an order that is drawn anew for every
epoch, their images fill a buffer, and each batch is drawn from all images that wait there. So an
image meets those that came in shortly before and after it, not the whole set; a buffer of the size
of the set shuffles all with all. The split has already put the file's images in a random order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import PIXELS
from pipeline.datasets.parquet import PIECE
from pipeline.datasets.tables import ExampleSet, StoredExamples
from pipeline.errors import SettingsError
from pipeline.nn.devices import Engine
from pipeline.nn.layers import Array

Part = tuple[Any, NDArray[np.int64] | None]
"""Images that an engine holds, and the order to train on them in; None: all at once."""


class TrainingSet(Protocol):
    """Images to train on, wherever they are kept."""

    def __len__(self) -> int:
        """Count the images."""

    def parts(self, size: int, rng: np.random.Generator) -> Iterator[Part]:
        """Yield all images once, shuffled, for batches of `size` (the last may be smaller)."""


def hold(engine: Engine, examples: ExampleSet) -> Any:
    """Let an engine hold all examples."""
    blocks = ((block.inputs, block.labels) for block in examples.blocks())
    return engine.hold(blocks, len(examples))


def training_set(
    engine: Engine, examples: ExampleSet, buffer: int | Literal["all"] = "all"
) -> TrainingSet:
    """Let an engine hold all examples, or leave them in their file, as `buffer` asks."""
    if buffer == "all" or not isinstance(examples, StoredExamples):
        return HeldImages(hold(engine, examples))
    return StreamedExamples(engine, examples, buffer)


@dataclass(frozen=True)
class HeldImages:
    """Images that an engine holds, all of them."""

    images: Any

    def __len__(self) -> int:
        return len(self.images)

    def parts(self, size: int, rng: np.random.Generator) -> Iterator[Part]:
        """Yield all images with an order, shuffled anew; a single batch needs none."""
        yield self.images, None if size >= len(self) else rng.permutation(len(self))


@dataclass(frozen=True)
class StreamedExamples:
    """Examples that stay in their file.

    buffer: images that wait in memory, 3,150 bytes each, while batches are drawn from them.
    """

    engine: Engine
    examples: StoredExamples
    buffer: int

    def __len__(self) -> int:
        return len(self.examples)

    def parts(self, size: int, rng: np.random.Generator) -> Iterator[Part]:
        """Yield whole batches of all images, shuffled anew, some at a time."""
        for inputs, labels in self.batches(size, rng):
            yield self.engine.hold([(inputs, labels)], len(labels)), np.arange(len(labels))

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[tuple[Array, Array]]:
        """Yield inputs and labels of some batches of `size` at a time (the last may be smaller).

        The order depends on `rng`, the buffer and the file's row groups alone. Raises SettingsError
        where a batch is larger than the buffer.
        """
        buffer = min(self.buffer, len(self))
        if min(size, len(self)) > buffer:
            wanted = f"all {size} images" if size == len(self) else size
            raise SettingsError(
                f"batch_size must be at most shuffle_buffer, {self.buffer}, got {wanted}; "
                "shuffle_buffer: all holds all images in memory"
            )
        inputs = np.empty((buffer + PIECE, PIXELS), np.float32)
        labels = np.empty(buffer + PIECE, np.uint8)
        free, waiting = np.arange(buffer + PIECE), np.empty(0, np.int64)  # places in the two
        for block in self.examples.shuffled_blocks(rng):
            places, free = np.split(free, [len(block)])
            inputs[places], labels[places] = block.inputs, block.labels
            waiting = np.concatenate([waiting, places])
            if len(waiting) > buffer:
                waiting = rng.permutation(waiting)
                batches = -(-(len(waiting) - buffer) // size)
                drawn, waiting = np.split(waiting, [batches * size])
                yield inputs[drawn], labels[drawn]
                free = np.concatenate([free, drawn])
        waiting = rng.permutation(waiting)
        some = max(PIECE // size, 1) * size
        for start in range(0, len(waiting), some):
            drawn = waiting[start : start + some]
            yield inputs[drawn], labels[drawn]
