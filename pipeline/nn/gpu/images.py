"""Images on the GPU: one byte per pixel, and the input that each byte stands for."""

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.datasets.images import PIXELS
from pipeline.nn.arithmetic import ORDER
from pipeline.nn.devices import Blocks
from pipeline.nn.gpu.device import Gpu
from pipeline.nn.layers import Array


class GpuImages:
    """Images held by a GPU.

    levels: (n, 784) uint8, in summation order; table: (256,) float32, the input of each level;
    labels: (n,) uint8. Only images with a table of pixel values can be distorted.
    """

    def __init__(
        self, gpu: Gpu, blocks: Blocks, count: int, table: NDArray[np.float32] | None
    ) -> None:
        """Copy `count` images to the GPU, from blocks of inputs (n, 784) and labels (n,).

        table: the inputs of the 256 pixel values, which become the levels. Raises DataError if
        there are other inputs, or, without a table, more than 256.
        """
        levels, labels = np.empty((count, PIXELS), np.uint8), np.empty(count, np.uint8)
        known = np.empty(0, np.float32) if table is None else table.astype(np.float32)
        if len(np.unique(known)) < len(known):
            raise DataError("the normalization must map the 256 pixel values to 256 inputs")
        start = 0
        for inputs, classes in blocks:
            end = start + len(classes)
            levels[start:end], known = _levels(
                inputs[:, ORDER].astype(np.float32), known, fixed=table is not None
            )
            labels[start:end] = classes
            start = end
        inputs = np.zeros(256, np.float32)
        inputs[: len(known)] = known
        self.holds_pixels = table is not None
        with gpu.work():
            self.levels, self.labels, self.table = map(gpu.put, (levels, labels, inputs))
            gpu.synchronize()  # the host's arrays end here

    def __len__(self) -> int:
        return len(self.labels)


def _levels(
    inputs: Array, known: NDArray[np.float32], *, fixed: bool
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return the index of each input among the known ones, and those known afterwards."""
    inputs = inputs + np.float32(0)  # -0 is 0
    if not len(known):
        known = np.unique(inputs[:100])
    while len(known) <= 256:
        multiplier, indices = _perfect_hash(known)
        levels = indices[_hashes(inputs, multiplier)]
        others = inputs[known[levels] != inputs]
        if not others.size:
            return levels, known
        if fixed:
            break
        known = np.concatenate([known, np.unique(others)])
    rule = "only normalised" if fixed else "at most 256 distinct"
    raise DataError(f"images must have {rule} pixel values")


def _hashes(numbers: Array, multiplier: int) -> NDArray[np.uint32]:
    """Return a number of 16 bits for each float32."""
    return numbers.view(np.uint32) * np.uint32(multiplier) >> np.uint32(16)


def _perfect_hash(known: NDArray[np.float32]) -> tuple[int, NDArray[np.uint8]]:
    """Return a multiplier for which all hashes differ, and the index of the number of each hash.

    Half of all multipliers will do for 256 numbers.
    """
    for multiplier in range(0x9E3779B1, 2**32, 2):
        hashes = _hashes(known, multiplier)
        if len(np.unique(hashes)) == len(known):
            break
    indices = np.zeros(2**16, np.uint8)
    indices[hashes] = np.arange(len(known))
    return multiplier, indices
