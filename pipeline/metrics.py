"""Metrics of predictions: small formulas, tested against scikit-learn."""

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Z_95 = 1.959963984540054
"""The 97.5th percentile of the standard normal distribution, for two-sided 95 % intervals."""


def wilson_interval(hits: int, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of the proportion `hits / count`.

    Source: Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953.
    """
    share, z2 = hits / count, Z_95**2
    center = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = Z_95 * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2)) / (1 + z2 / count)
    low, high = center - half, center + half
    return (0.0 if hits == 0 else low), (1.0 if hits == count else high)


def mcnemar_p(only_one: int, only_other: int) -> float:
    """Return the two-sided p-value of McNemar's exact test.

    only_one, only_other: number of images that one of two networks alone gets right. If the two
    were equally good, each of those images would be as likely to be of one kind as of the other.
    Source: McNemar 1947, https://doi.org/10.1007/BF02295996, with the exact binomial distribution.
    """
    count, fewer = only_one + only_other, min(only_one, only_other)
    tail = ways = 1
    for hits in range(1, fewer + 1):  # math.comb() takes seconds for thousands of images
        ways = ways * (count - hits + 1) // hits
        tail += ways
    return min(1.0, float(Fraction(2 * tail, 2**count)))


def confusion_counts(
    labels: NDArray[np.integer], predicted: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """Return the number of images of each class (rows) predicted as each class (columns)."""
    cells = labels.astype(np.int64) * classes + predicted
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def precision_recall(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the precision and recall of each class from confusion counts; 0 where undefined.

    Precision is the share of images predicted as a class that belong to it; recall is the share of
    images of a class that are predicted as it.
    """
    hits = counts.diagonal()
    return hits / np.maximum(counts.sum(axis=0), 1), hits / np.maximum(counts.sum(axis=1), 1)


def f1_scores(precision: NDArray[np.float64], recall: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the harmonic mean of each class's precision and recall; 0 where both are 0."""
    both = precision + recall
    return 2 * precision * recall / np.where(both > 0, both, 1)
