"""The folds of cross-validation, of the training and validation images together.

All images are shuffled once and cut into parts of equal size, within one image. Each trial is
validated on one part and trained on the others. The test set is not among them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.images import PIXELS
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.parquet import StoredExamples

BLOCK = 4096
"""Images gathered at a time."""


@dataclass(frozen=True)
class ChosenExamples:
    """Rows of two sets, counted from the first of `one` to the last of `other`.

    Their images are copied block by block only, because every trial chooses others.
    """

    one: Examples
    other: Examples
    rows: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.uint8]:
        """The labels of all examples, in order."""
        labels: NDArray[np.uint8] = np.concatenate([self.one.labels, self.other.labels])
        return labels[self.rows]

    @property
    def description(self) -> Description:
        """The description of the images."""
        return self.one.description

    @property
    def normalization(self) -> Normalization:
        """The map from pixels to inputs."""
        return self.one.normalization

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int | None) -> "ChosenExamples":
        """Return the first `count` examples, or all if there are fewer or `count` is None."""
        return replace(self, rows=self.rows[:count])

    def blocks(self) -> Iterator[Examples]:
        """Yield all examples in order, BLOCK at a time."""
        for start in range(0, len(self), BLOCK):
            rows = self.rows[start : start + BLOCK]
            inputs = np.empty((len(rows), PIXELS), np.float32)
            labels = np.empty(len(rows), np.uint8)
            later = rows >= len(self.one)
            for part, places, offset in (
                (self.one, ~later, 0),
                (self.other, later, len(self.one)),
            ):
                inputs[places] = part.inputs[rows[places] - offset]
                labels[places] = part.labels[rows[places] - offset]
            yield Examples(inputs, labels, self.description, self.normalization)


@dataclass(frozen=True)
class Fold:
    """One part of all images. number: from 1 to `count`; seed: of the order of the images."""

    number: int
    count: int
    seed: int

    def of(
        self, training: Examples | StoredExamples, validation: Examples
    ) -> tuple[ChosenExamples, ChosenExamples]:
        """Return the other folds, to train on, and this one; both in random order."""
        one = training.read() if isinstance(training, StoredExamples) else training
        order = np.random.default_rng(self.seed).permutation(len(one) + len(validation))
        parts = np.array_split(order, self.count)
        own = parts.pop(self.number - 1)
        return (
            ChosenExamples(one, validation, np.concatenate(parts)),
            ChosenExamples(one, validation, own),
        )


def fold_sizes(images: int, count: int) -> list[int]:
    """Return the number of images in each of `count` folds."""
    return [len(part) for part in np.array_split(np.arange(images), count)]
