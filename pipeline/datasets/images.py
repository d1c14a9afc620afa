"""A set of labelled images, as every format is read into and every table is written from."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DataError

HEIGHT = WIDTH = 28
PIXELS = HEIGHT * WIDTH


@dataclass(frozen=True)
class LabelledImages:
    """Grey images and what they show.

    images: (N, 28, 28) uint8, 0 is background; labels: (N,) uint8.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[Any]) -> "LabelledImages":
        """Give the images at `rows`, in that order."""
        return LabelledImages(self.images[rows], self.labels[rows])

    def check(self, name: str, classes: int) -> None:
        """Raise DataError unless there are images, each with a label below `classes`."""
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{name} must have one label an image, got {len(self.images)} images "
                f"and {len(self.labels)} labels"
            )
        if not len(self):
            raise DataError(f"{name} has no images")
        if (highest := int(self.labels.max())) >= classes:
            row = int(np.argmax(self.labels >= classes))
            raise DataError(
                f"{name} must have labels from 0 to {classes - 1}, got {highest} "
                f"(first such label in row {row})"
            )
