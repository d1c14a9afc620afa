"""Figures of a sweep: history, parallel coordinates, importance of settings, learning rates.

table: one row per trial, with columns trial, state (complete, pruned or failed),
validation_accuracy, and one per setting, `settings.NAME`.
"""

import math
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

from pipeline.figures.style import BLUE, INK, ORANGE, PALE, RED, SKY, style
from pipeline.nn.layers import Array

SPREAD = 4
"""The axis of accuracies ends at this many times the median's distance from the best."""
NEAREST = 0.05
"""Distance of two labels on a scale at least, as a part of its height."""
MARKS = {"complete": ("o", BLUE), "pruned": ("D", SKY)}
PREFIX = "settings."
LR = f"{PREFIX}lr"


def sweep_figures(
    table: pd.DataFrame,
    importances: dict[str, float],
    published: Sequence[tuple[float, float]],
    logarithmic: Collection[str],
    title: str,
) -> dict[str, Figure]:
    """Draw every figure for which the trials have data, by name.

    importances: share of the variance by setting. published: learning rates and the accuracies that
    others report for them. logarithmic: settings on a logarithmic scale. Each may be empty.
    """
    figures = {"history": history_figure(table, title)}
    ended = table[table["state"] == "complete"]
    # Of a single setting, the figure of learning rates and the history say everything.
    if len(ended) > 1 and len(_varied(ended)) > 1:
        figures["parallel"] = parallel_figure(ended, logarithmic, title)
    if len(importances) > 1:
        figures["importance"] = importance_figure(importances, title)
    if LR in table and ended[LR].nunique() > 1:
        figures["learning_rate"] = learning_rate_figure(ended, published, logarithmic, title)
    return figures


def history_figure(table: pd.DataFrame, title: str) -> Figure:
    """Draw every trial's validation accuracy in order, and the best so far."""
    with style():
        figure = Figure(figsize=(10, 4.2), layout="constrained")
        ax = figure.subplots()
        ended = table[table["state"] == "complete"]
        best = ended["validation_accuracy"].cummax()
        ax.step(ended["trial"], best, where="post", color=ORANGE, label="best so far")
        failed = table["state"] == "failed"
        bottom = _accuracy_axis(ax, table["validation_accuracy"][~failed])
        for state, (marker, colour) in MARKS.items():
            rows = table[table["state"] == state]
            if len(rows):
                label = f"{state}, {len(rows)}"
                _draw_points(ax, rows, "trial", bottom, marker, colour, label)
        if failed.any():
            ax.plot(
                table["trial"][failed], [bottom] * failed.sum(), "x", color=RED, clip_on=False,
                label=f"failed, {failed.sum()}",
            )  # fmt: skip
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(xlabel="trial", ylabel="validation accuracy", title=title)
        figure.legend(loc="outside right upper")
    return figure


def parallel_figure(table: pd.DataFrame, logarithmic: Collection[str], title: str) -> Figure:
    """Draw one line per trial across all settings that differ, up to its validation accuracy."""
    columns = _varied(table)
    accuracy = table["validation_accuracy"]
    bottom, best = _bottom(accuracy), accuracy.idxmax()
    with style():
        figure = Figure(figsize=(max(6, 1.5 * len(columns) + 2.5), 4.6), layout="constrained")
        ax = figure.subplots()
        heights = []
        for place, column in enumerate(columns):
            height, ticks = _places(table[column], column.removeprefix(PREFIX) in logarithmic)
            heights.append(height)
            _draw_scale(ax, place, ticks)
        top = float(accuracy.max())
        shown = accuracy.clip(lower=bottom).to_numpy()
        heights.append((shown - bottom) / max(top - bottom, 1e-9))
        edge = "≤ " if accuracy.min() < bottom else ""
        ticks = [
            (k / 4, f"{edge if k == 0 else ''}{value:.1%}")
            for k, value in enumerate(np.linspace(bottom, top, 5))
        ]
        _draw_scale(ax, len(columns), ticks)
        # From pale, the worst, to dark; Blues itself begins with white, which nobody sees.
        colours = ScalarMappable(Normalize(bottom - 0.6 * (top - bottom), top), "Blues")
        lines = np.stack(heights, axis=1)
        for row in accuracy.argsort():  # the best on top
            ax.plot(lines[row], color=colours.to_rgba(shown[row]), linewidth=1, alpha=0.9)
        ax.plot(lines[table.index.get_loc(best)], color=ORANGE, linewidth=3)
        names = [column.removeprefix(PREFIX) for column in columns]
        ax.set_xticks(range(len(columns) + 1), [*names, "validation\naccuracy"])
        ax.set_yticks([])
        ax.set_xlim(-0.2, len(columns) + 0.5)
        ax.spines[["left", "bottom"]].set_visible(False)
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.set_title(f"{title}: {len(table)} trials\ndarker is better, the best in orange")
    return figure


def importance_figure(importances: dict[str, float], title: str) -> Figure:
    """Draw one bar per setting: the share of the accuracy's variance that it explains."""
    with style():
        figure = Figure(figsize=(7, 1.3 + 0.32 * len(importances)), layout="constrained")
        ax = figure.subplots()
        bars = ax.barh(list(importances), list(importances.values()), color=BLUE)
        ax.bar_label(bars, [f"{share:.0%}" for share in importances.values()], padding=3)
        ax.invert_yaxis()
        ax.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        ax.set_xlim(0, 1.12 * max(importances.values()))
        ax.grid(visible=False, axis="y")
        ax.set(xlabel="share of the variance of the accuracy (fANOVA)", title=title)
    return figure


def learning_rate_figure(
    table: pd.DataFrame,
    published: Sequence[tuple[float, float]],
    logarithmic: Collection[str],
    title: str,
) -> Figure:
    """Draw validation accuracy against learning rate, beside published accuracies, if any.

    Lines join the points if only the learning rate differs.
    """
    others = [name for name in table if str(name).startswith(PREFIX) and name != LR]
    alone = all(table[name].nunique() == 1 for name in others)
    rows = table.sort_values(LR)
    with style():
        figure = Figure(figsize=(8, 4.4), layout="constrained")
        ax = figure.subplots()
        bottom = _accuracy_axis(ax, rows["validation_accuracy"])
        if published:
            rates, accuracies = zip(*sorted(published), strict=True)
            bottom = max(0.0, min(*accuracies, rows["validation_accuracy"].min()) - 0.05)
            ax.set_ylim(bottom, 1)
            ax.plot(rates, accuracies, "s--", color=ORANGE, label="published")
        marker = "o-" if alone else "o"
        _draw_points(ax, rows, LR, bottom, marker, BLUE, "here" if published else None)
        if "lr" in logarithmic:
            ax.set_xscale("log")
        ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set(xlabel="learning rate", ylabel="validation accuracy", title=title)
        if ax.get_legend_handles_labels()[1]:
            figure.legend(loc="outside right upper")
    return figure


def _draw_points(
    ax: Axes, rows: pd.DataFrame, x: str, bottom: float, marker: str, colour: str, label: str | None
) -> None:
    """Draw trials at their accuracy; those below the axis are triangles at its edge."""
    far = rows["validation_accuracy"] < bottom
    near = rows[~far]
    ax.plot(near[x], near["validation_accuracy"], marker, color=colour, markersize=5, label=label)
    if far.any():
        ax.plot(
            rows[x][far], [bottom] * far.sum(), "v", color=colour, fillstyle="none", clip_on=False,
            label=f"{far.sum()} at {rows['validation_accuracy'][far].max():.1%} or less",
        )  # fmt: skip


def _accuracy_axis(ax: Axes, accuracy: "pd.Series[float]") -> float:
    """Set an axis of accuracies so that the better ones can be told apart; return its bottom."""
    bottom, top = _bottom(accuracy), float(accuracy.max())
    ax.set_ylim(bottom, min(1.0, top + 0.1 * (top - bottom)))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    return bottom


def _bottom(accuracy: "pd.Series[float]") -> float:
    """Return the lowest accuracy to draw: that of the worst trial, unless it is far off."""
    best, middle = float(accuracy.max()), float(accuracy.median())
    return max(0.0, float(accuracy.min()) - 0.01, best - SPREAD * (best - middle) - 0.01)


def _places(column: "pd.Series[Any]", logarithmic: bool) -> tuple[Array, list[tuple[float, str]]]:
    """Return each value's height from 0 to 1 on its scale, and the scale's heights and labels."""
    if all(isinstance(value, int | float) for value in column):
        numbers = column.astype(float)
        forward = np.log10 if logarithmic else np.array
        low, high = float(forward(numbers.min())), float(forward(numbers.max()))
        distinct = np.unique(numbers)
        shown = distinct if len(distinct) <= 6 else _round_numbers(distinct, logarithmic)
        ticks: list[tuple[float, str]] = []
        for value in shown:
            place = (float(forward(value)) - low) / (high - low)
            if not ticks or place - ticks[-1][0] >= NEAREST:
                ticks.append((place, f"{value:g}"))
        return (forward(numbers) - low) / (high - low), ticks
    names = sorted(set(map(str, column)))
    spots = {name: k / (len(names) - 1) for k, name in enumerate(names)}
    labels = [(spot, name.strip("[]").replace(", ", "-")) for name, spot in spots.items()]
    return np.array([spots[str(value)] for value in column]), labels


def _round_numbers(values: Array, logarithmic: bool) -> list[float]:
    """Return round numbers within the range of values, for an axis."""
    low, high = float(values.min()), float(values.max())
    if logarithmic and high >= 100 * low:
        powers = range(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
        return [float(f"1e{power}") for power in powers]  # 10.0**-3 is not quite 0.001
    steps = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(low, high)
    return [float(f"{step:.6g}") for step in steps if low <= step <= high]


def _varied(table: pd.DataFrame) -> list[str]:
    """Return the columns of the settings that differ between trials."""
    return [
        str(name) for name in table if str(name).startswith(PREFIX) and table[name].nunique() > 1
    ]


def _draw_scale(ax: Axes, place: int, ticks: list[tuple[float, str]]) -> None:
    ax.plot([place, place], [0, 1], color=PALE, linewidth=1, zorder=1)
    for height, label in ticks:
        ax.annotate(
            label, (place, height), xytext=(3, 0), textcoords="offset points",
            va="center", fontsize=8, color=INK, zorder=5,
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none",
                  "alpha": 0.7},
        )  # fmt: skip
