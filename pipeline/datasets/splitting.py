"""Seeded, stratified splits, and normalisation by statistics of the training part alone."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import LabelledImages
from pipeline.errors import DataError


def split_stratified(
    data: LabelledImages, size: int, seed: int, name: str
) -> tuple[LabelledImages, LabelledImages]:
    """Set `size` images apart, every class with its share, and shuffle both parts.

    Gives (the rest, the part set apart). Raises DataError, in which `name` says which setting asked
    for it, where the data are too few.
    """
    from sklearn.model_selection import train_test_split

    classes, counts = np.unique(data.labels, return_counts=True)
    if counts.min() < 2:
        raise DataError(
            f"{name} needs at least 2 images of every class, got "
            f"{counts.min()} of class {classes[counts.argmin()]}"
        )
    if not len(classes) <= size <= len(data) - len(classes):
        raise DataError(
            f"{name} must be from {len(classes)} to {len(data) - len(classes)} "
            f"for {len(data)} images of {len(classes)} classes, got {size}"
        )
    rest, part = train_test_split(
        np.arange(len(data)), test_size=size, stratify=data.labels, random_state=seed
    )
    return data.take(rest), data.take(part)


@dataclass(frozen=True)
class Normalization:
    """The map from a pixel in 0..255 to a network's input: `(pixel / 255 - mean) / std`.

    One mean and one standard deviation for all pixels: an image's border is constant, so it has
    no deviation of its own to divide by.
    """

    method: Literal["scale", "standardize"]
    mean: float
    std: float

    def apply(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Map `(N, 28, 28)` or `(N, 784)` pixels to `(N, 784)` float32."""
        flat = images.reshape(len(images), -1)
        table = ((np.arange(256) / 255 - self.mean) / self.std).astype(np.float32)
        return table[flat]

    def undo(self, inputs: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Map network inputs back to brightness in [0, 1]."""
        return inputs * self.std + self.mean


def fit_normalization(
    images: NDArray[np.uint8], method: Literal["scale", "standardize"]
) -> Normalization:
    """Take the statistics from the training images.

    Raises DataError where all pixels are equal, which has no deviation to divide by.
    """
    if method == "scale":
        return Normalization("scale", 0.0, 1.0)
    counts = np.bincount(images.reshape(-1), minlength=256)
    values = np.arange(256) / 255
    mean = float(counts @ values / counts.sum())
    std = float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum()))
    if std == 0:
        raise DataError("normalize: standardize needs images that are not all of one grey")
    return Normalization("standardize", mean, std)
