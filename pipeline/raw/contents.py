"""What a raw file holds of a dataset: the images of a split, its labels, or both."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, listed
from pipeline.datasets.images import LabelledImages


class NoImagesError(DataError):
    """A file does not hold images but, say, a table of houses."""


@dataclass(frozen=True)
class Reading:
    """What a reader is told. say: receives what is changed in reading, as one line.

    class_names: the names that labels in words stand for; None if only the pixels matter.
    """

    say: Callable[[str], None]
    class_names: tuple[str, ...] | None = None

    def labels_of(self, place: object, words: list[str]) -> NDArray[np.uint8]:
        """Return the labels (n,) that words stand for: names of classes, or whole numbers.

        Raises DataError, naming the place, for words that are neither.
        """
        if self.class_names is None:
            return np.zeros(len(words), np.uint8)
        labels = {name: label for label, name in enumerate(self.class_names)}
        # A number is a label unless it is the name of some class, as 7 is of digits.
        if not any(map(_is_number, self.class_names)):
            labels |= {word: int(word) for word in words if _is_number(word)}
        for word in words:
            if labels.get(word, 256) > 255:
                raise DataError(
                    f"{place} must name its class as class_names does "
                    f"({listed(self.class_names, 5)}), got {word}"
                )
        return np.array([labels[word] for word in words], np.uint8)


@dataclass(frozen=True)
class Table:
    """Images with their labels. blocks: reads them block by block.

    labelled: False if only the labels are missing, as in the test set of a competition.
    """

    split: str | None
    blocks: Callable[[Reading], Iterator[LabelledImages]]
    labelled: bool = True


@dataclass(frozen=True)
class Images:
    """Images without labels. count: returns how many; blocks: yields (n, 28, 28) uint8."""

    split: str | None
    count: Callable[[], int]
    blocks: Callable[[Reading], Iterator[NDArray[np.uint8]]]


@dataclass(frozen=True)
class Labels:
    """Labels without images. read: returns (N,) uint8."""

    split: str | None
    read: Callable[[], NDArray[np.uint8]]


Content = Table | Images | Labels


class Look(Protocol):
    """A function that tells what a file holds."""

    def __call__(self, path: Path) -> list[Content]:
        """Return what the file holds.

        Raises DataError, naming the file, if it cannot be used; NoImagesError if it holds other
        things than images.
        """


def as_labels(place: object, values: NDArray[Any]) -> NDArray[np.uint8]:
    """Return labels as (N,) uint8. Raises DataError unless all are whole numbers up to 255."""
    if values.dtype == np.uint8:
        return values.reshape(-1)
    numbers = values.reshape(-1)
    bad = np.flatnonzero(~((numbers >= 0) & (numbers <= 255) & (numbers == np.floor(numbers))))
    if len(bad):
        raise DataError(
            f"{place} must have whole numbers from 0 to 255 as labels, got {numbers[bad[0]]} "
            f"for image {bad[0] + 1}"
        )
    return numbers.astype(np.uint8)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdecimal() and len(word) < 9
