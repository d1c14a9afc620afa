"""The quality of a network, by class and by confidence."""

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pipeline.figures.style import BLUE, INK, ORANGE, PALE, SKY, margins, names_width, style
from pipeline.metrics import precision_recall, wilson_interval
from pipeline.nn.layers import Array

BINS = 10
AREA = 80
"""Area of the point of the fullest bin, in square points; that of others is in proportion."""
APART = 0.13
"""Half the distance of a class's two points, in lines."""
MANY = 20
"""Number of classes beyond which their cells are smaller."""


def draw_confusion(ax: Axes, counts: Array, class_names: tuple[str, ...]) -> None:
    """Draw counts `(true, predicted)` in cells shaded by their share of the true class.

    Right predictions are blue, errors orange. The shade follows the square root of the share, so
    that a single error can be seen.
    """
    shares = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    right = np.eye(len(counts), dtype=bool)
    cells = np.where(
        right[:, :, np.newaxis], colormaps["Blues"](0.75 * shares), colormaps["Oranges"](shares)
    )
    cells[counts == 0] = 1
    ax.imshow(cells)
    for row, column in np.ndindex(counts.shape):
        if counts[row, column]:
            colour = "white" if shares[row, column] > 0.7 else INK
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
        figure = Figure(figsize=(max(side + names + 0.9, 5.6), side + names + 1.3))
        ax = figure.subplots(gridspec_kw=margins(figure, names + 0.6, 0.3, names + 0.7, 0.6))
        draw_confusion(ax, counts, class_names)
        ax.set_title(f"{title}: {counts.trace()} of {counts.sum()} right, errors in orange")
    return figure


def draw_precision_recall(
    ax: Axes, precision: Array, recall: Array, class_names: tuple[str, ...]
) -> None:
    """Draw one line per class from its precision to its recall."""
    places = np.arange(len(class_names))
    ax.hlines(places, precision, recall, color=PALE, linewidth=3, zorder=1)
    # One above the other, so that equal values are both seen.
    ax.plot(precision, places - APART, "o", color=BLUE, label="precision (correct predictions)")
    ax.plot(recall, places + APART, "D", color=ORANGE, label="recall (images found)")
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


def calibration_figure(confidence: Array, right: Array, unit: str, title: str) -> Figure:
    """Draw accuracy against confidence (a reliability diagram), and the number of images per bin.

    A bin with more images has a larger point and a shorter Wilson interval. unit: what the
    confidence is. The title gives the expected calibration error: the mean gap between the two
    over all images.
    """
    means, accuracies, counts = calibration(confidence, right)
    error = float((np.abs(means - accuracies) * counts).sum() / counts.sum())
    with style():
        figure = Figure(figsize=(5.8, 6.1))
        place = margins(figure, 0.75, 0.3, 0.9, 0.45) | {"hspace": 0.1, "height_ratios": [3, 1]}
        top, bottom = figure.subplots(2, 1, sharex=True, gridspec_kw=place)
        top.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="perfect calibration")
        lows, highs = np.transpose(
            [
                wilson_interval(round(hits), int(n))
                for hits, n in zip(accuracies * counts, counts, strict=True)
            ]
        )
        top.vlines(means, lows, highs, color=SKY, linewidth=2, label="95 % interval", zorder=1)
        sizes = np.maximum(AREA * counts / counts.max(), AREA / 8)
        top.scatter(
            means, accuracies, sizes, color=BLUE, label="images of a bin", zorder=3, clip_on=False
        )
        top.set(ylabel="accuracy", ylim=(0, 1.02), xlim=(0, 1.02))
        top.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        top.set_title(f"{title}: expected calibration error {error:.1%}")
        heights = np.histogram(confidence, BINS, (0, 1))[0]
        bars = bottom.bar((np.arange(BINS) + 0.5) / BINS, heights, 0.9 / BINS, color=SKY)
        bottom.bar_label(bars, [f"{n:,}" if n else "" for n in heights], fontsize=8, padding=1)
        bottom.set_ylim(0, 1.3 * heights.max())
        bottom.set(xlabel=unit, ylabel="images")
        bottom.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        figure.legend(loc="lower center", ncols=3)
    return figure
