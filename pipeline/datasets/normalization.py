"""Normalisation of pixels by statistics of the training images only."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.datasets.images import LabelledImages


@dataclass(frozen=True)
class Normalization:
    """The map from a pixel in 0..255 to a network's input: `(pixel / 255 - mean) / std`.

    The mean and standard deviation are over all pixels together, since the pixels at an image's
    border are constant and have a standard deviation of 0.
    """

    method: Literal["scale", "standardize"]
    mean: float
    std: float

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map `(N, 28, 28)` or `(N, 784)` pixels to `(N, 784)` float32."""
        return self.table()[images.reshape(len(images), -1)]

    def table(self) -> NDArray[np.float32]:
        """Return the inputs (256,) of all pixel values."""
        return ((np.arange(256) / 255 - self.mean) / self.std).astype(np.float32)

    def undo(self, inputs: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Map network inputs back to brightness in [0, 1]."""
        return inputs * self.std + self.mean


def fit_normalization(
    blocks: Iterable[LabelledImages], method: Literal["scale", "standardize"]
) -> Normalization:
    """Compute the normalisation from the training images, given block by block.

    Pixels are counted by value, as integers, so the result does not depend on the blocks. Raises
    DataError if all pixels are equal, since their standard deviation is 0.
    """
    if method == "scale":
        return Normalization("scale", 0.0, 1.0)
    counts = np.zeros(256, np.int64)
    for block in blocks:
        for image_rows in np.array_split(block.images, max(1, len(block.images) // 1024)):
            counts += np.bincount(image_rows.reshape(-1), minlength=256)
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    std = float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))
    if std == 0:
        raise DataError("normalize: standardize needs images with more than one grey value")
    return Normalization("standardize", mean, std)
