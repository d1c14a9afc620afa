"""What networks reach together: the mean of their probabilities, on validation and test images.

The validation images decide which networks take part. The test images are only counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.examples import Examples
from pipeline.metrics import wilson_interval
from pipeline.nn.model_file import Model
from pipeline.nn.prediction import check_fits, check_images, predict_probabilities

Probabilities = NDArray[np.float32]


@dataclass(frozen=True)
class Together:
    """The accuracies of some variants together.

    members: the best first. test_low, test_high: the 95 % Wilson interval of the test accuracy.
    """

    members: tuple[str, ...]
    validation_accuracy: float
    test_accuracy: float
    test_low: float
    test_high: float


def measure_together(
    models: Sequence[Model], validation: Examples, test: Examples
) -> tuple[Together, Together]:
    """Return the accuracies of all models, and of the best of them by `choose_best`.

    Raises DataError if a model was trained on other images, classes or another normalisation.
    """
    for model in models:
        check_fits(model, validation)
        check_fits(model, test)
        check_images(model, validation)
    on_validation = [predict_probabilities(model, validation.inputs) for model in models]
    on_test = [predict_probabilities(model, test.inputs) for model in models]
    ranked, count = choose_best(on_validation, validation.labels)

    def together(chosen: Sequence[int]) -> Together:
        right = _right([on_test[place] for place in chosen], test.labels)
        low, high = wilson_interval(right, len(test))
        return Together(
            tuple(models[place].variant for place in chosen),
            _right([on_validation[place] for place in chosen], validation.labels) / len(validation),
            right / len(test),
            low,
            high,
        )

    return together(ranked), together(ranked[:count])


def choose_best(
    probabilities: Sequence[Probabilities], labels: NDArray[np.uint8]
) -> tuple[list[int], int]:
    """Rank networks by accuracy, and return the ranking and how many of its first to take.

    The number is the one that reaches the highest accuracy together on these images. The earlier
    network of a tie ranks first, and the smallest number of a tie is taken.
    """
    alone = [_right([each], labels) for each in probabilities]
    ranked = sorted(range(len(probabilities)), key=lambda place: -alone[place])
    reached = [
        _right([probabilities[place] for place in ranked[:count]], labels)
        for count in range(1, len(ranked) + 1)
    ]
    return ranked, 1 + reached.index(max(reached))


def _right(probabilities: Sequence[Probabilities], labels: NDArray[np.uint8]) -> int:
    """Return the number of images that the mean of probabilities (N, classes) classifies right."""
    mean = np.mean(probabilities, axis=0, dtype=np.float64)
    return int((mean.argmax(axis=1) == labels).sum())
