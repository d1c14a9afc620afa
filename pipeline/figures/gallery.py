"""All figures of one variant, by the names of their files."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.base.params import Augment
from pipeline.base.tables import Table
from pipeline.datasets.examples import Examples
from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.figures.architecture import architecture_figure
from pipeline.figures.curves import curve_figure, norms_figure
from pipeline.figures.distortions import distortions_figure
from pipeline.figures.passes import passes_figures
from pipeline.figures.predictions import most_confident_mistakes, predictions_figure
from pipeline.figures.quality import calibration_figure, confusion_figure, quality_figure
from pipeline.figures.style import class_labels
from pipeline.metrics import confusion_counts
from pipeline.nn.inspection import inspect
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model
from pipeline.nn.network import DIVIDED

UNSURE = 0.9
"""Confidence below which a prediction counts as unsure."""


def variant_figures(
    model: Model,
    test: Examples,
    probabilities: Array,
    history: Table,
    norms: Table,
    rng: np.random.Generator,
) -> dict[str, Figure]:
    """Draw the network, its passes for one image, its quality, and its training.

    probabilities: (N, classes) for the test images; `rng` chooses the random ones shown.
    """
    return {
        **step_figures(model, test, probabilities, rng),
        **prediction_figures(model, test, probabilities, rng),
        **quality_figures(model, test, probabilities),
        "curves": curve_figure(history, model.network.architecture.loss, model.variant),
        "norms": norms_figure(norms, model.variant),
    }


def step_figures(
    model: Model, test: Examples, probabilities: Array, rng: np.random.Generator
) -> dict[str, Figure]:
    """Draw the network and its passes for the first test image with low confidence.

    A correct prediction with high confidence has almost no gradient to look at. If the network was
    trained on distorted images, draw how that image would have been distorted.
    """
    index = int(np.argmax(probabilities.max(axis=1) < UNSURE))
    inspection = inspect(model, test.inputs[index], int(test.labels[index]))
    title = f"{model.variant}, test image {index}"
    figures = {
        "architecture": architecture_figure(model.network, model.variant),
        **passes_figures(inspection, model, title),
    }
    strengths = model.training["settings"].get("augment")
    if strengths:
        brightness = model.normalization.undo(test.inputs[index]).reshape(HEIGHT, WIDTH)
        figures["distortions"] = distortions_figure(
            brightness, Augment(**strengths), rng, f"{title}, distorted as in training"
        )
    return figures


def prediction_figures(
    model: Model, test: Examples, probabilities: Array, rng: np.random.Generator
) -> dict[str, Figure]:
    """Draw random test images and the most confident mistakes."""
    classes = class_labels(model.class_names)

    def draw(rows: Array, title: str) -> Figure:
        return predictions_figure(
            test.inputs[rows], test.labels[rows], probabilities[rows],
            model.normalization, classes, f"{model.variant}: {title}{_divided(model)}",
        )  # fmt: skip

    order = rng.permutation(len(test))
    mistakes = most_confident_mistakes(test.labels, probabilities, 15)
    return {
        "predictions": draw(order[:25], "25 random test images"),
        "mistakes": draw(mistakes, f"the {len(mistakes)} most confident mistakes"),
    }


def quality_figures(model: Model, test: Examples, probabilities: Array) -> dict[str, Figure]:
    """Draw the confusion matrix, precision and recall, and calibration."""
    predicted = probabilities.argmax(axis=1)
    confidence, right = probabilities.max(axis=1), predicted == test.labels
    name, classes = model.variant, class_labels(model.class_names)
    counts = confusion_counts(test.labels, predicted, len(classes))
    return {
        "confusion": confusion_figure(counts, classes, name),
        "quality": quality_figure(counts, classes, name),
        "calibration": calibration_figure(confidence, right, f"confidence{_divided(model)}", name),
    }


def _divided(model: Model) -> str:
    """Return what the confidence of a network is, if it is not its output."""
    return f" ({DIVIDED})" if model.network.architecture.divides_outputs else ""
