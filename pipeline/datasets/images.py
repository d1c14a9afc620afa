"""A set of labelled images, as every format is read into and every table is written from.

A set may be larger than memory: then its labels, a byte an image, are at hand, and its images come
in blocks.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

HEIGHT = WIDTH = 28
PIXELS = HEIGHT * WIDTH


class ImageSet(Protocol):
    """Labelled images, wherever they are kept. labels: (N,) uint8."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all images, in order."""

    def __len__(self) -> int:
        """Count the images."""

    def blocks(self) -> Iterator["LabelledImages"]:
        """Give all images once, in order, so many at a time as memory holds with ease."""


@dataclass(frozen=True)
class LabelledImages:
    """Grey images and what they show, all in memory.

    images: (N, 28, 28) uint8, 0 is background; labels: (N,) uint8.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator["LabelledImages"]:
        """Give all images as a single block."""
        yield self

    def take(self, rows: NDArray[Any]) -> "LabelledImages":
        """Give the images at `rows`, in that order."""
        return LabelledImages(self.images[rows], self.labels[rows])


def collect(blocks: Iterable[LabelledImages]) -> LabelledImages:
    """Put blocks together into one set in memory."""
    empty = LabelledImages(np.empty((0, HEIGHT, WIDTH), np.uint8), np.empty(0, np.uint8))
    every = [empty, *blocks]
    return LabelledImages(
        np.concatenate([block.images for block in every]),
        np.concatenate([block.labels for block in every]),
    )


def check_labels(name: str, labels: NDArray[np.uint8], classes: int) -> None:
    """Raise DataError unless there are images, each with a label below `classes`."""
    if not len(labels):
        raise DataError(f"{name} has no images")
    if (highest := int(labels.max())) >= classes:
        row = int(np.argmax(labels >= classes))
        raise DataError(
            f"{name} must have labels from 0 to {classes - 1}, got {highest} "
            f"(first such label in row {row})"
        )
