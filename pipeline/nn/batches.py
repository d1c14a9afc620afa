"""Sets of examples on a device, and the batches they are cut into."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.nn.backend import Array, Device, array_module


class TrainingSet(Protocol):
    """Examples to train on, wherever they are kept."""

    def __len__(self) -> int:
        """Count the examples."""

    def batches(self, size: int, rng: np.random.Generator) -> Iterator["Batch"]:
        """Yield all examples once, in batches of `size` (the last may be smaller), shuffled."""


@dataclass(frozen=True)
class Batch:
    """Inputs (n, pixels) and integer labels (n,), both on the training device."""

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator["Batch"]:
        """Yield all examples once, in batches of `size` (the last may be smaller), shuffled anew.

        A single batch is given as it is: the order of its examples means nothing.
        """
        if size >= len(self):
            yield self
            return
        order = array_module(self.labels).asarray(rng.permutation(len(self)))
        for start in range(0, len(self), size):
            rows = order[start : start + size]
            yield Batch(self.inputs[rows], self.labels[rows])


def put_batch(device: Device, inputs: Array, labels: Array) -> Batch:
    """Copy a set of examples to the device, once."""
    return Batch(device.put(inputs), device.put(labels.astype(np.int64)))
