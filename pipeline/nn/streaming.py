"""Training on more images than memory holds: batches drawn from a buffer that a file refills.

What is shuffled with what: the file's row groups come in an order that is drawn anew for every
epoch, their images fill a buffer, and each batch is drawn from all images that wait there. So an
image meets those that came in shortly before and after it, not the whole set; a buffer of the size
of the set shuffles all with all. The split has already put the file's images in a random order.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.datasets.images import PIXELS
from pipeline.datasets.parquet import PIECE
from pipeline.datasets.tables import StoredExamples
from pipeline.errors import SettingsError
from pipeline.nn.backend import Device
from pipeline.nn.batches import Batch, TrainingSet, put_batch


def training_set(
    examples: StoredExamples, buffer: int | Literal["all"], device: Device
) -> TrainingSet:
    """Put all examples in memory, on the device, or leave them in their file, as `buffer` asks."""
    if buffer == "all":
        whole = examples.read()
        return put_batch(device, whole.inputs, whole.labels)
    return StreamedExamples(examples, buffer, device)


@dataclass(frozen=True)
class StreamedExamples:
    """Examples to train on that stay in their file, for `training.train`.

    buffer: images that wait in memory, 3,150 bytes each, while batches are drawn from them.
    """

    examples: StoredExamples
    buffer: int
    device: Device

    def __len__(self) -> int:
        return len(self.examples)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator[Batch]:
        """Yield all examples once, in batches of `size` (the last may be smaller), shuffled anew.

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
            while len(waiting) > buffer:
                drawn, waiting = np.split(waiting, [size])
                yield put_batch(self.device, inputs[drawn], labels[drawn])
                free = np.concatenate([free, drawn])
        waiting = rng.permutation(waiting)
        for start in range(0, len(waiting), size):
            drawn = waiting[start : start + size]
            yield put_batch(self.device, inputs[drawn], labels[drawn])
