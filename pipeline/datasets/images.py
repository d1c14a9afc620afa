"""Sets of labelled images, which every reader returns and every writer takes.

A set may be larger than memory: its labels, one byte per image, are held in memory, and its images
are read in blocks.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError

HEIGHT = WIDTH = 28
PIXELS = HEIGHT * WIDTH
PICTURE_ERRORS = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError,
    AssertionError, struct.error,
)  # fmt: skip
"""Errors that Pillow raises for damaged pictures."""


def damaged_picture(place: object, error: Exception) -> DataError:
    """Return what to raise for one of these errors, with the place of the picture."""
    return DataError(f"{place} is a damaged picture: {str(error)[:200] or 'a part is missing'}")


class ImageSet(Protocol):
    """Labelled images, in memory or on disk. labels: (N,) uint8."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all images, in order."""

    def __len__(self) -> int:
        """Return the number of images."""

    def blocks(self) -> Iterator["LabelledImages"]:
        """Yield all images once, in order, in blocks that fit easily in memory."""


@dataclass(frozen=True)
class LabelledImages:
    """Labelled greyscale images in memory.

    images: (N, 28, 28) uint8, where 0 is background; labels: (N,) uint8.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.labels)

    def blocks(self) -> Iterator["LabelledImages"]:
        """Yield all images as a single block."""
        yield self

    def take(self, rows: NDArray[Any]) -> "LabelledImages":
        """Return the images at `rows`, in that order."""
        return LabelledImages(self.images[rows], self.labels[rows])


def check_labels(name: str, labels: NDArray[np.uint8], classes: int, advice: str = "") -> None:
    """Raise DataError unless there are images and all labels are below `classes`.

    advice: what to do about labels that begin with 1, if that is all there is to it.
    """
    if not len(labels):
        raise DataError(f"{name} has no images")
    if (highest := int(labels.max())) >= classes:
        row = int(np.argmax(labels >= classes))
        raise DataError(
            f"{name} must have labels from 0 to {classes - 1}, one per name in class_names, got "
            f"{highest} (first such label in row {row})"
            + (f"; {advice}" if advice and labels.min() == 1 and highest == classes else "")
        )
