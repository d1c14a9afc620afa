"""Seeded, stratified splits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError

Rows = NDArray[np.uint32]
"""Indices of images in a set: four bytes each, since there is one per image."""


def split_rows(labels: NDArray[np.uint8], size: int, seed: int, name: str) -> tuple[Rows, Rows]:
    """Choose `size` rows, stratified by label, and shuffle both parts.

    Returns (the rest, the chosen part), the same rows in the same order as scikit-learn's
    `train_test_split(rows, test_size=size, stratify=labels, random_state=seed)`, but needs 6 bytes
    per image with ten classes (13 with two) instead of 74. Raises DataError if there are too few
    images; its message names the setting `name`.
    """
    pieces = np.array_split(labels, 1 + len(labels) // 1_000_000)  # bincount copies to 8 bytes each
    every = np.sum([np.bincount(piece, minlength=256) for piece in pieces], axis=0)
    classes = np.flatnonzero(every).astype(np.uint8)
    counts = every[classes]
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


def _shares(counts: NDArray[Any], size: int, rng: np.random.RandomState) -> NDArray[np.int64]:
    """Return each class's share of `size` images, by largest remainder; ties are broken at random.

    Makes the same draws as scikit-learn's `_approximate_mode`.
    """
    exact = counts / counts.sum() * size
    shares = np.floor(exact)
    remainders = exact - shares
    missing = int(size - shares.sum())
    for remainder in sorted(set(remainders.tolist()), reverse=True):
        if missing == 0:
            break
        (tied,) = np.where(remainders == remainder)
        chosen = rng.choice(tied, size=min(len(tied), missing), replace=False)
        shares[chosen] += 1
        missing -= len(chosen)
    whole: NDArray[np.int64] = shares.astype(np.int64)
    return whole
