"""Cost and accuracy during training, one panel per variant."""

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, ScalarFormatter
from numpy.typing import NDArray

from pipeline.base.colours import DASHES, SERIES, place
from pipeline.base.tables import Table
from pipeline.figures.style import BLUE, ORANGE, PALE, margins, names_width, style

Measure = Literal["cost", "accuracy"]
AROUND = 25
"""The median of gradients takes a part of this many of all epochs on each side."""
NAMED = 20
"""Number of variants whose names fit beside the figure of all."""
_SPLITS = {"train": (BLUE, "training"), "validation": (ORANGE, "validation")}
UNITS = {"cross_entropy": "cross-entropy (nats)", "mean_squared_error": "mean squared error"}


def draw_curve(ax: Axes, history: Table, measure: Measure) -> None:
    """Draw one variant's training and validation curve with its last validation value.

    history: columns split, epoch, cost, accuracy.
    """
    for split, (colour, label) in _SPLITS.items():
        part = history["split"] == split
        ax.plot(history["epoch"][part], history[measure][part], color=colour, label=label)
    last = np.flatnonzero(history["split"] == "validation")[-1]
    epoch, value = history["epoch"][last], history[measure][last]
    ax.plot(epoch, value, "o", color=ORANGE, markersize=4)
    text = f"{value:.2%}" if measure == "accuracy" else f"{value:.3g}"
    ax.set_title(text, loc="right", color=ORANGE)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_xlim(left=0)
    if measure == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_ylim(0, 1.02)
    else:
        ax.set_ylim(bottom=0)


def curves_figure(
    histories: dict[str, Table], losses: Mapping[str, str], measure: Measure, title: str
) -> Figure:
    """Draw all variants side by side. losses: the name of each variant's loss."""
    columns = min(3, len(histories))
    rows = math.ceil(len(histories) / columns)
    with style():
        figure = Figure(figsize=(3.4 * columns, 2.6 * rows + 0.8))
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        edges = margins(figure, 0.75, 0.15, 0.85, 0.75) | {"wspace": 0.35, "hspace": 0.5}
        axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=edges)
        for ax, (variant, history) in zip(axes.flat, histories.items(), strict=False):
            draw_curve(ax, history, measure)
            ax.set_title(variant)
            ax.set_ylabel(UNITS[losses[variant]] if measure == "cost" else "accuracy")
            ax.set_xlabel("epoch")
        for ax in list(axes.flat)[len(histories) :]:
            ax.set_axis_off()
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="lower center", ncols=2)
    return figure


def curve_figure(history: Table, loss: str, title: str) -> Figure:
    """Draw one variant's cost beside its accuracy."""
    with style():
        figure = Figure(figsize=(10, 3.6))
        edges = margins(figure, 0.75, 0.15, 0.55, 0.7) | {"wspace": 0.2}
        left, right = figure.subplots(1, 2, gridspec_kw=edges)
        draw_curve(left, history, "cost")
        left.set(ylabel=UNITS[loss], xlabel="epoch", title=f"{title}: cost")
        draw_curve(right, history, "accuracy")
        right.set(ylabel="accuracy", xlabel="epoch", title="accuracy")
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right", ncols=2)
    return figure


def together_figure(histories: dict[str, Table], title: str) -> Figure:
    """Draw the validation accuracy of all variants on one pair of axes.

    Epochs are on a logarithmic scale, because variants have from a dozen to a thousand of them. Of
    more than NAMED variants, those with the highest last accuracy are named, and the others grey.
    """
    curves = {
        variant: (history["epoch"][part], history["accuracy"][part])
        for variant, history in histories.items()
        for part in (history["split"] == "validation",)
    }
    best = sorted(curves, key=lambda variant: -curves[variant][1][-1])[:NAMED]
    named = [variant for variant in curves if variant in best]
    with style():
        figure = Figure(figsize=(10, 4.6))
        legend = min(5.0, 1.3 + names_width(named))
        ax = figure.subplots(gridspec_kw=margins(figure, 0.75, legend, 0.55, 0.45))
        others = [curve for variant, curve in curves.items() if variant not in best]
        for number, curve in enumerate(others):
            ax.plot(*curve, color=PALE, label="" if number else f"{len(others)} others")
        for number, variant in enumerate(named):
            epoch, accuracy = curves[variant]
            colour, dash = place(number)
            ax.plot(
                epoch, accuracy, color=SERIES[colour],
                linestyle=(0, DASHES[dash]) if DASHES[dash] else "-",
                label=f"{variant} {accuracy[-1]:.1%}",
            )  # fmt: skip
        ax.set_xscale("log")
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set(ylim=(0, 1.02), xlabel="epoch", ylabel="accuracy", title=title)
        figure.legend(loc="upper right")
    return figure


def norms_figure(norms: Table, title: str) -> Figure:
    """Draw the norms of every layer's weights and of their gradients during training.

    A gradient is that of an epoch's last batch. Batches scatter, so a thick line is the median of
    the epochs around. norms: columns layer, epoch, weight_norm, gradient_norm.
    """
    around = max(1, len(np.unique(norms["epoch"])) // AROUND)
    with style():
        figure = Figure(figsize=(10, 3.6))
        edges = margins(figure, 0.75, 1.2, 0.55, 0.45) | {"wspace": 0.25}
        left, right = figure.subplots(1, 2, gridspec_kw=edges)
        for number, layer in enumerate(np.unique(norms["layer"])):
            colour, part = SERIES[number % len(SERIES)], norms["layer"] == layer
            epoch = norms["epoch"][part]
            left.plot(epoch, norms["weight_norm"][part], color=colour, label=f"layer {layer}")
            gradient = norms["gradient_norm"][part]
            right.plot(epoch, gradient, color=colour, linewidth=0.7, alpha=0.35)
            right.plot(epoch, running_median(gradient, around), color=colour)
        left.set(xlabel="epoch", ylabel="norm of weights", title=f"{title}: weights")
        left.set_ylim(bottom=0)
        for ax in (left, right):
            ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        right.set(xlabel="epoch", ylabel="norm of dJ/dW", title=_gradients_title(around))
        if (norms["gradient_norm"] > 0).all():
            _scale_by_logarithm(right, norms["gradient_norm"])
        handles, labels = left.get_legend_handles_labels()
        figure.legend(handles, labels, loc="upper right")
    return figure


def running_median(values: NDArray[np.floating], around: int) -> NDArray[np.float64]:
    """Return for each value the median of it and of up to `around` values on each side."""
    padded = np.pad(values.astype(np.float64), around, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * around + 1)
    medians: NDArray[np.float64] = np.nanmedian(windows, axis=1)
    return medians


def _scale_by_logarithm(ax: Axes, values: NDArray[np.floating]) -> None:
    """Scale the y-axis by the logarithm; within a power of ten, with evenly spaced numbers."""
    ax.set_yscale("log")
    if values.max() < 10 * values.min():
        ax.yaxis.set_major_locator(MaxNLocator(5))
        ax.yaxis.set_major_formatter(ScalarFormatter())
        ax.yaxis.set_minor_formatter(NullFormatter())


def _gradients_title(around: int) -> str:
    return f"gradients, median of {2 * around + 1} epochs"
