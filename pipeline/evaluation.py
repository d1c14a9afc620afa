"""What a trained network is worth: accuracies with their interval, losses, predictions."""

from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.metrics import precision_recall_fscore_support

from pipeline.datasets.tables import Examples, ExampleSet
from pipeline.errors import ModelError
from pipeline.nn.devices import Device, Engine
from pipeline.nn.model_file import Model
from pipeline.nn.prediction import check_fits, predict_probabilities
from pipeline.nn.streaming import hold
from pipeline.nn.training import Score

DIGITS = 6
"""Decimals kept in metrics: finer than one image in 60,000."""


def evaluate(
    model: Model,
    train: ExampleSet,
    validation: Examples,
    test: Examples,
    test_sample: int | None,
    device: Device,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Measure a model on the images it was trained on, on the validation part and on the test set.

    Gives the metrics, and a table of test images with columns label, prediction (class names) and
    confidence. The interval of the test accuracy is Wilson's, at 95 %: where the accuracy on
    other images of the same kind would lie. Losses are in the unit of the model's loss. The
    training images are taken block by block: there may be more of them than memory holds.
    Raises DataError where the model does not fit the images, and ModelError where its weights are
    so large that numbers overflow on the way.
    """
    check_fits(model, test)
    sets: dict[str, ExampleSet] = {"train": train, "validation": validation, "test": test}
    engine = device.engine(model.network)
    parts = {name: score_set(engine, examples) for name, examples in sets.items()}
    probabilities = predict_probabilities(model, test.inputs, engine)
    predicted = probabilities.argmax(axis=1)
    right = predicted == test.labels
    interval = binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="wilson")
    precision, recall, f1, _ = precision_recall_fscore_support(
        test.labels, predicted, average="macro", zero_division=0
    )
    metrics: dict[str, Any] = {
        "train_accuracy": parts["train"].accuracy,
        "validation_accuracy": parts["validation"].accuracy,
        "test_accuracy": parts["test"].accuracy,
        "test_accuracy_low": interval.low,
        "test_accuracy_high": interval.high,
        "train_loss": parts["train"].cost,
        "validation_loss": parts["validation"].cost,
        "test_loss": parts["test"].cost,
        "test_precision": precision,
        "test_recall": recall,
        "test_f1": f1,
    }
    if test_sample is not None:
        metrics["test_sample_accuracy"] = right[:test_sample].mean()
        metrics["test_sample_images"] = len(right[:test_sample])
    if not np.isfinite(list(metrics.values())).all():
        raise ModelError(f"model {model.variant} has weights that are too large to compute with")
    rounded = {
        name: value if isinstance(value, int) else round(float(value), DIGITS)
        for name, value in metrics.items()
    }
    counts = {
        "train_images": len(train),
        "test_images": len(test),
        "parameters": model.network.architecture.parameter_count(),
    }
    names = np.array(model.class_names)
    table = pd.DataFrame(
        {
            "label": names[test.labels],
            "prediction": names[predicted],
            "confidence": probabilities.max(axis=1).round(DIGITS),
        }
    )
    return rounded | counts, table


def score_set(engine: Engine, examples: ExampleSet) -> Score:
    """Measure the mean cost and the accuracy on a set of examples of any size, block by block."""
    cost, hits = 0.0, 0
    for block in examples.blocks():
        part = engine.measure(hold(engine, block))
        cost, hits = cost + part[0], hits + part[1]
    return Score.of((cost, hits), len(examples))
