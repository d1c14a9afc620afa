"""Two networks beside each other: images that one alone gets right, and pairs of repeats."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from pipeline.comparison import Comparison
from pipeline.datasets.examples import Examples
from pipeline.figures.predictions import predictions_figure
from pipeline.figures.style import BLUE, INK, ORANGE, PALE, class_labels, margins, style
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model

SHOWN = 15
"""Images that only one of two networks gets right shown at most."""


def compared_figures(
    models: Sequence[Model], test: Examples, probabilities: Sequence[Array], found: Comparison
) -> dict[str, Figure]:
    """Draw the test images that one of two networks alone gets right, as each reads them.

    probabilities: (N, classes) of each. Up to SHOWN images of a kind are drawn, the ones on which
    the wrong network is the most confident.
    """
    figures = {}
    for place, rows in enumerate((found.only_one, found.only_other)):
        right, wrong = models[place], models[1 - place]
        order = np.argsort(-probabilities[1 - place][rows].max(axis=1), kind="stable")
        chosen = rows[order[:SHOWN]]
        classes = class_labels(wrong.class_names)
        figures[f"only_{right.variant}"] = predictions_figure(
            test.inputs[chosen], test.labels[chosen], probabilities[1 - place][chosen],
            wrong.normalization, classes,
            f"{wrong.variant}: {len(chosen)} of {len(rows)} that only {right.variant} gets right",
        )  # fmt: skip
    return figures


def pairs_figure(found: Mapping[str, Any], title: str) -> Figure:
    """Draw the accuracies of two variants by seed, and the mean of their differences.

    found: what `pair_statistics` returns. A line joins the two networks of a seed: blue where the
    first is better, orange where the second is.
    """
    one, other = found["variants"]
    first, second = (np.array([pair[k] for pair in found["pairs"].values()]) for k in (0, 1))
    with style():
        figure = Figure(figsize=(8.6, 4.2))
        edges = margins(figure, 0.85, 0.35, 0.6, 0.75) | {"wspace": 0.45, "width_ratios": [2, 1.3]}
        left, right = figure.subplots(1, 2, gridspec_kw=edges)
        figure.suptitle(title, x=0.012, ha="left", fontweight="bold")
        for a, b in zip(first, second, strict=True):
            colour = PALE if a == b else BLUE if a > b else ORANGE
            left.plot([0, 1], [a, b], "o-", color=colour, markersize=4, linewidth=1.2)
        left.set_xlim(-0.3, 1.3)
        left.set_xticks([0, 1], [one, other])
        left.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=1))
        left.set_ylabel("validation accuracy")
        left.set_title("one line per seed", fontsize=10)
        differences = 100 * (first - second)
        scatter = np.linspace(-0.25, 0.25, len(differences))
        right.plot(scatter, differences, "o", color=PALE, markersize=5)
        mean, low, high = (100 * found[key] for key in ("difference", "low", "high"))
        right.vlines(0, low, high, color=INK, linewidth=3)
        right.plot(0, mean, "D", color=INK, markersize=7)
        right.axhline(0, color=INK, linewidth=0.8)
        right.set(xlim=(-0.6, 0.6), xticks=[], ylabel=f"{one} minus {other}, percentage points")
        right.yaxis.set_major_locator(MaxNLocator(6))
        right.set_title("mean and 95 % interval", fontsize=10)
    return figure
