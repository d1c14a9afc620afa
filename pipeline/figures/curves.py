"""Cost and accuracy through training, a panel a variant."""

import math
from collections.abc import Mapping
from typing import Literal

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.figures.style import BLUE, ORANGE, PALE, style

Measure = Literal["cost", "accuracy"]
_SPLITS = {"train": (BLUE, "training"), "validation": (ORANGE, "validation")}
UNITS = {"cross_entropy": "cross-entropy (nats)", "mean_squared_error": "mean squared error"}


def draw_curve(ax: Axes, history: pd.DataFrame, measure: Measure) -> None:
    """Draw one variant's training and validation curve with its last validation value.

    history: columns split, epoch, cost, accuracy.
    """
    for split, (colour, label) in _SPLITS.items():
        rows = history[history["split"] == split]
        ax.plot(rows["epoch"], rows[measure], color=colour, label=label)
    last = history[history["split"] == "validation"].iloc[-1]
    ax.plot(last["epoch"], last[measure], "o", color=ORANGE, markersize=4)
    text = f"{last[measure]:.2%}" if measure == "accuracy" else f"{last[measure]:.3g}"
    ax.annotate(
        text,
        (last["epoch"], last[measure]),
        xytext=(-4, 10 if measure == "cost" else -16),
        textcoords="offset points",
        ha="right",
        color=ORANGE,
        fontweight="bold",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set_xlim(left=0)
    if measure == "accuracy":
        ax.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_ylim(0, 1.02)
    else:
        ax.set_ylim(bottom=0)


def curves_figure(
    histories: dict[str, pd.DataFrame], losses: Mapping[str, str], measure: Measure
) -> Figure:
    """Draw all variants side by side. losses: the name of each variant's loss."""
    columns = min(3, len(histories))
    rows = math.ceil(len(histories) / columns)
    with style():
        figure = Figure(figsize=(3.4 * columns, 2.6 * rows + 0.5), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax, (variant, history) in zip(axes.flat, histories.items(), strict=False):
            draw_curve(ax, history, measure)
            ax.set_title(variant)
            ax.set_ylabel(UNITS[losses[variant]] if measure == "cost" else "accuracy")
            ax.set_xlabel("epoch")
        for ax in list(axes.flat)[len(histories) :]:
            ax.set_axis_off()
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2, edgecolor=PALE)
    return figure
