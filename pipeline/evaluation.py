"""Evaluation of a trained network: accuracies with an interval, losses, predictions."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from pipeline.base.errors import ModelError
from pipeline.base.tables import Table
from pipeline.datasets.examples import Examples, ExampleSet
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH
from pipeline.metrics import confusion_counts, f1_scores, precision_recall, wilson_interval
from pipeline.nn.devices import Device, Engine
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model
from pipeline.nn.prediction import check_fits, predict_probabilities
from pipeline.nn.streaming import hold
from pipeline.nn.training import Score

SHIFTS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
"""Shifts down and to the right, in pixels: none, to the four sides, to the four corners."""
DIGITS = 6
"""Decimal places of the metrics: finer than one image in 60,000."""


def evaluate(
    model: Model,
    train: ExampleSet,
    validation: Examples,
    test: Examples,
    test_sample: int | None,
    test_shifts: Literal[5, 9] | None,
    device: Device,
) -> tuple[dict[str, Any], Table]:
    """Measure a model on its training images, the validation part and the test set.

    Returns the metrics, and a table of test images with columns label, prediction (class names) and
    confidence. The test accuracy comes with its 95 % Wilson interval, an estimate for other images
    of the same kind. test_sample: number of first test images on which the accuracy is also given.
    test_shifts: also give the accuracy of probabilities averaged over so many shifts of each test
    image, see SHIFTS. Losses are in the unit of the model's loss. The training images are processed
    block by block and may be larger than memory. Raises DataError if the model does not fit the
    images, ModelError if its weights are so large that numbers overflow.
    """
    check_fits(model, test)
    sets: dict[str, ExampleSet] = {"train": train, "validation": validation, "test": test}
    engine = device.engine(model.network)
    parts = {name: score_set(engine, examples) for name, examples in sets.items()}
    probabilities = predict_probabilities(model, test.inputs, engine)
    predicted = probabilities.argmax(axis=1)
    right = predicted == test.labels
    low, high = wilson_interval(int(right.sum()), len(right))
    counts = confusion_counts(test.labels, predicted, len(model.class_names))
    # Averages are over the classes that occur as a label or a prediction.
    occur = counts.sum(axis=0) + counts.sum(axis=1) > 0
    precision, recall = precision_recall(counts)
    metrics: dict[str, Any] = {
        "train_accuracy": parts["train"].accuracy,
        "validation_accuracy": parts["validation"].accuracy,
        "test_accuracy": parts["test"].accuracy,
        "test_accuracy_low": low,
        "test_accuracy_high": high,
        "train_loss": parts["train"].cost,
        "validation_loss": parts["validation"].cost,
        "test_loss": parts["test"].cost,
        "test_precision": precision[occur].mean(),
        "test_recall": recall[occur].mean(),
        "test_f1": f1_scores(precision, recall)[occur].mean(),
    }
    if test_sample is not None:
        metrics["test_sample_accuracy"] = right[:test_sample].mean()
        metrics["test_sample_images"] = len(right[:test_sample])
    if test_shifts is not None:
        mean = shifted_probabilities(model, test, SHIFTS[:test_shifts], engine)
        metrics["test_shifts_accuracy"] = (mean.argmax(axis=1) == test.labels).mean()
        metrics["test_shifts"] = test_shifts
    if not np.isfinite(list(metrics.values())).all():
        raise ModelError(f"model {model.variant} has weights that are too large to compute with")
    rounded = {
        name: value if isinstance(value, int) else round(float(value), DIGITS)
        for name, value in metrics.items()
    }
    sizes = {
        "train_images": len(train),
        "test_images": len(test),
        "parameters": model.network.architecture.parameter_count(),
    }
    names = np.array(model.class_names)
    table = {
        "label": names[test.labels],
        "prediction": names[predicted],
        "confidence": probabilities.max(axis=1).round(DIGITS),
    }
    return rounded | sizes, table


def shifted_probabilities(
    model: Model, examples: Examples, shifts: Sequence[tuple[int, int]], engine: Engine
) -> Array:
    """Return probabilities (N, classes), each the mean over shifts of the image by whole pixels."""
    background = model.normalization.table()[0]
    padded = np.pad(
        examples.inputs.reshape(-1, HEIGHT, WIDTH), ((0, 0), (1, 1), (1, 1)),
        constant_values=background,
    )  # fmt: skip
    total = np.zeros((len(examples), len(model.class_names)))
    for down, right in shifts:
        rows, columns = slice(1 - down, 1 - down + HEIGHT), slice(1 - right, 1 - right + WIDTH)
        inputs = padded[:, rows, columns].reshape(len(examples), PIXELS)
        total += predict_probabilities(model, inputs, engine)
    return total / len(shifts)


def score_set(engine: Engine, examples: ExampleSet) -> Score:
    """Measure the mean cost and the accuracy on a set of examples, block by block."""
    cost, hits = 0.0, 0
    for block in examples.blocks():
        part = engine.measure(hold(engine, block))
        cost, hits = cost + part[0], hits + part[1]
    return Score.of((cost, hits), len(examples))
