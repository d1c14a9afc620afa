"""Seeded, stratified splits, and normalisation by statistics of the training part alone."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.images import LabelledImages
from pipeline.errors import DataError

Rows = NDArray[np.uint32]
"""Numbers of images in a set, four bytes each, for there is one an image."""


def split_rows(labels: NDArray[np.uint8], size: int, seed: int, name: str) -> tuple[Rows, Rows]:
    """Choose `size` rows to set apart, every class with its share, and shuffle both parts.

    Gives (the rest, the part set apart), the very rows and order that scikit-learn's
    `train_test_split(rows, test_size=size, stratify=labels, random_state=seed)` gives, but in 6
    bytes an image with ten classes (13 with two) instead of 74. Raises DataError, in which `name`
    says which setting asked for it, where the images are too few.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise DataError(
            f"{name} needs at least 2 images of every class, got "
            f"{counts.min()} of class {classes[counts.argmin()]}"
        )
    if not len(classes) <= size <= len(labels) - len(classes):
        raise DataError(
            f"{name} must be from {len(classes)} to {len(labels) - len(classes)} "
            f"for {len(labels)} images of {len(classes)} classes, got {size}"
        )
    rng = np.random.RandomState(seed)  # scikit-learn's generator, for the same draws
    kept = _shares(counts, len(labels) - size, rng)
    apart = _shares(counts - kept, size, rng)
    rest = np.empty(len(labels) - size, np.uint32)
    part = np.empty(size, np.uint32)
    rest_end = part_end = 0
    for value, stay, go in zip(classes, kept, apart, strict=True):
        rows = np.flatnonzero(labels == value).astype(np.uint32)
        rng.shuffle(rows)
        rest[rest_end : rest_end + stay] = rows[:stay]
        part[part_end : part_end + go] = rows[stay:]
        rest_end, part_end = rest_end + stay, part_end + go
    rng.shuffle(rest)
    rng.shuffle(part)
    return rest, part


def split_stratified(
    data: LabelledImages, size: int, seed: int, name: str
) -> tuple[LabelledImages, LabelledImages]:
    """Split a set in memory by `split_rows`. Raises DataError likewise."""
    rest, part = split_rows(data.labels, size, seed, name)
    return data.take(rest), data.take(part)


def _shares(counts: NDArray[Any], size: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Give each class its share of `size` images, by largest remainder, ties drawn by lot.

    scikit-learn's `_approximate_mode`, draw for draw.
    """
    exact = counts / counts.sum() * size
    shares = np.floor(exact)
    remainders = exact - shares
    missing = int(size - shares.sum())
    for remainder in np.unique(remainders)[::-1]:
        if missing == 0:
            break
        (tied,) = np.where(remainders == remainder)
        chosen = rng.choice(tied, size=min(len(tied), missing), replace=False)
        shares[chosen] += 1
        missing -= len(chosen)
    whole: NDArray[np.int64] = shares.astype(np.int64)
    return whole


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
    """Take the statistics from training images in memory, as `fit_normalization_to_blocks` does."""
    return fit_normalization_to_blocks([LabelledImages(images, np.empty(0, np.uint8))], method)


def fit_normalization_to_blocks(
    blocks: Iterable[LabelledImages], method: Literal["scale", "standardize"]
) -> Normalization:
    """Take the statistics from the training images, given block by block.

    Pixels are counted by value, in whole numbers: how they are cut into blocks does not matter.
    Raises DataError where all pixels are equal, which has no deviation to divide by.
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
        raise DataError("normalize: standardize needs images that are not all of one grey")
    return Normalization("standardize", mean, std)
