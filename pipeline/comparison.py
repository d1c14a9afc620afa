"""Two networks on the same test images: what each alone gets right, and whether that is chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.examples import Examples
from pipeline.metrics import mcnemar_p
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model
from pipeline.nn.prediction import check_fits, check_images, predict_probabilities

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Comparison:
    """The test images that two networks get right, and the p-value of McNemar's exact test.

    only_one, only_other: rows of the images that one of them alone gets right, in ascending order.
    """

    images: int
    both: int
    neither: int
    only_one: Rows
    only_other: Rows
    p: float


def compare_predictions(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> Comparison:
    """Compare two networks by which images each gets right, in the same order."""
    only_one, only_other = np.flatnonzero(one & ~other), np.flatnonzero(other & ~one)
    return Comparison(
        len(one),
        int((one & other).sum()),
        int((~one & ~other).sum()),
        only_one,
        only_other,
        mcnemar_p(len(only_one), len(only_other)),
    )


def compare_models(one: Model, other: Model, test: Examples) -> tuple[Comparison, Array, Array]:
    """Compare two models on test images; return also the probabilities (N, classes) of each.

    Raises DataError if a model was trained on other images, classes or another normalisation.
    """
    for model in (one, other):
        check_fits(model, test)
        check_images(model, test)
    first, second = (predict_probabilities(model, test.inputs) for model in (one, other))
    found = compare_predictions(
        first.argmax(axis=1) == test.labels, second.argmax(axis=1) == test.labels
    )
    return found, first, second
