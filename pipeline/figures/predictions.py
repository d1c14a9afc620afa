"""Test images with what a network says of them."""

import math
import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.datasets.splitting import Normalization
from pipeline.figures.passes import draw_image
from pipeline.figures.style import GREEN, INK, RED, style
from pipeline.nn.layers import Array

LETTERS = 9
"""Letters in a line over a picture."""
_CAPTION: dict[str, Any] = {"loc": "center", "fontsize": 8, "fontweight": "normal"}


def draw_prediction(
    ax: Axes, inputs: Array, normalization: Normalization, said: str, true: str, confidence: float
) -> None:
    """Draw one image; a wrong prediction is red, framed, and names the true class too."""
    draw_image(ax, inputs, normalization)
    right = said == true
    lines = [_wrapped(said), *([] if right else [_wrapped(f"is {true}")]), f"{confidence:.0%}"]
    ax.set_title("\n".join(lines), color=INK if right else RED, **_CAPTION)
    for spine in ax.spines.values():
        spine.set(visible=True, color=GREEN if right else RED, linewidth=1 if right else 2.5)


def predictions_figure(
    inputs: Array,
    labels: Array,
    probabilities: Array,
    normalization: Normalization,
    class_names: tuple[str, ...],
    columns: int,
    title: str,
) -> Figure:
    """Draw images `(N, 784)` in rows of `columns`, in their order; with none, say so."""
    with style():
        rows = max(1, math.ceil(len(inputs) / columns))
        width = max(7.5, 0.7 * columns)
        figure = Figure(figsize=(width, 0.5 + rows * (width / columns + 0.6)), layout="constrained")
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        axes = figure.subplots(rows, columns, squeeze=False)
        for ax in axes.flat:
            ax.set_axis_off()
        for ax, image, label, row in zip(axes.flat, inputs, labels, probabilities, strict=False):
            ax.set_axis_on()
            said = int(row.argmax())
            draw_prediction(
                ax, image, normalization, class_names[said], class_names[label], float(row[said])
            )
    return figure


def _wrapped(name: str) -> str:
    """Break a class name at spaces and slashes so that it fits over a small picture."""
    return textwrap.fill(name.replace("/", "/ "), LETTERS).replace("/ ", "/")


def most_confident_mistakes(labels: Array, probabilities: Array, count: int) -> Array:
    """Give the rows of up to `count` wrong predictions, the most confident first."""
    said = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(said != labels)
    order = np.argsort(-probabilities[wrong, said[wrong]], kind="stable")
    return wrong[order[:count]]
