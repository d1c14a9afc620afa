"""The quality of a network, by class and by confidence."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.figures.style import BLUE, INK, ORANGE, PALE, SKY, margins, names_width, style
from pipeline.metrics import precision_recall
from pipeline.nn.layers import Array

BINS = 10
MANY = 20
"""Number of classes beyond which their cells are smaller."""


def draw_confusion(ax: Axes, counts: Array, class_names: tuple[str, ...]) -> None:
    """Draw counts `(true, predicted)` in cells shaded by their share of the true class."""
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.5 else INK
            ax.text(
                column, row, f"{counts[row, column]}",
                ha="center", va="center", color=colour, fontsize=8,
            )  # fmt: skip
    places = np.arange(len(class_names))
    long = max(map(len, class_names)) > 3
    ax.set_xticks(places, class_names, rotation=45 if long else 0, ha="right" if long else "center")
    ax.set_yticks(places, class_names)
    ax.set(xlabel="predicted", ylabel="true")
    ax.grid(visible=False)


def confusion_figure(counts: Array, class_names: tuple[str, ...], title: str) -> Figure:
    """Draw the confusion matrix of test images."""
    with style():
        many = max(0, len(class_names) - MANY)
        side, names = 0.5 * (len(class_names) - many) + 0.3 * many, names_width(class_names)
        figure = Figure(figsize=(side + names + 0.9, side + names + 1.3))
        ax = figure.subplots(gridspec_kw=margins(figure, names + 0.6, 0.3, names + 0.7, 0.6))
        draw_confusion(ax, counts, class_names)
        ax.set_title(f"{title}: {counts.trace()} of {counts.sum()} right")
    return figure


def draw_precision_recall(
    ax: Axes, precision: Array, recall: Array, class_names: tuple[str, ...]
) -> None:
    """Draw one line per class from its precision to its recall."""
    places = np.arange(len(class_names))
    ax.hlines(places, precision, recall, color=PALE, linewidth=3, zorder=1)
    ax.plot(precision, places, "o", color=BLUE, label="precision (correct predictions)")
    ax.plot(recall, places, "D", color=ORANGE, label="recall (images found)")
    ax.set_yticks(places, class_names)
    ax.invert_yaxis()
    ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    lowest = min(precision.min(), recall.min())
    ax.set_xlim(max(0.0, float(lowest) - 0.05), 1.01)


def quality_figure(counts: Array, class_names: tuple[str, ...], title: str) -> Figure:
    """Draw each class's precision and recall from the counts of test images."""
    precision, recall = precision_recall(counts)
    with style():
        figure = Figure(figsize=(7, 1.4 + 0.32 * len(class_names)))
        left = 0.3 + names_width(class_names)
        ax = figure.subplots(gridspec_kw=margins(figure, left, 0.35, 0.75, 0.45))
        draw_precision_recall(ax, precision, recall, class_names)
        ax.set_title(title)
        figure.legend(loc="lower center", ncols=2)
    return figure


def calibration(confidence: Array, right: Array) -> tuple[Array, Array, Array]:
    """Return mean confidence, accuracy and count of images in ten bins of confidence.

    Empty bins are left out. Source: Guo et al. 2017, https://arxiv.org/abs/1706.04599, section 2.
    """
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    means = np.bincount(bins, weights=confidence, minlength=BINS)[filled] / counts[filled]
    accuracies = np.bincount(bins, weights=right, minlength=BINS)[filled] / counts[filled]
    return means, accuracies, counts[filled]


def calibration_figure(confidence: Array, right: Array, title: str) -> Figure:
    """Draw accuracy against confidence (a reliability diagram), and the number of images per bin.

    The title gives the expected calibration error: the mean gap between the two over all images.
    """
    means, accuracies, counts = calibration(confidence, right)
    error = float((np.abs(means - accuracies) * counts).sum() / counts.sum())
    with style():
        figure = Figure(figsize=(5.4, 5.6))
        place = margins(figure, 0.75, 0.3, 0.6, 0.45) | {"hspace": 0.1, "height_ratios": [3, 1]}
        top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw=place)
        top.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="perfect calibration")
        top.plot(means, accuracies, "o-", color=BLUE, label="this network")
        top.set(ylabel="accuracy", ylim=(0, 1.02), xlim=(0, 1.02))
        top.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        top.legend(loc="upper left")
        top.set_title(f"{title}: expected calibration error {error:.1%}")
        bottom.hist(confidence, bins=np.linspace(0, 1, BINS + 1).tolist(), color=SKY)
        bottom.set(xlabel="confidence of the prediction", ylabel="images")
        bottom.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    return figure
