"""Test images with the predictions of a network."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.datasets.normalization import Normalization
from pipeline.figures.style import GREEN, INK, RED, style, wrapped
from pipeline.nn.layers import Array

COLUMNS = 5
LETTERS = 14
"""Letters per line of a caption."""
_CELL = WIDTH + 7
"""Width of an image with its margins, in pixels of the image."""
_LINE = 3.3
"""Height of a caption's line in these pixels."""
_INCHES = 1.5
"""Width of a cell."""


def draw_predictions(
    ax: Axes, brightness: Array, captions: list[str], right: list[bool], rows: int
) -> None:
    """Draw images `(N, 28, 28)` of brightness 0 to 1 in a grid, each under its caption.

    All are on one pair of axes: an axes per image takes ten times as long. A wrong prediction is
    red and has a thick frame.
    """
    width, height = _CELL, _cell_height(captions)
    mosaic = np.zeros((rows * height, COLUMNS * width))
    for number, (image, caption, is_right) in enumerate(
        zip(brightness, captions, right, strict=True)
    ):
        x = number % COLUMNS * width + (width - WIDTH) // 2
        y = number // COLUMNS * height + height - HEIGHT - 2
        mosaic[y : y + HEIGHT, x : x + WIDTH] = image
        ax.text(
            x + WIDTH / 2 - 0.5, y - 1.5, caption,
            color=INK if is_right else RED, ha="center", va="bottom", fontsize=8,
        )  # fmt: skip
        frame = Rectangle((x - 0.5, y - 0.5), WIDTH, HEIGHT, fill=False)
        frame.set(edgecolor=GREEN if is_right else RED, linewidth=1 if is_right else 2.5)
        ax.add_patch(frame)
    ax.imshow(mosaic, cmap="gray_r", vmin=0, vmax=1)
    ax.set_axis_off()


def predictions_figure(
    inputs: Array,
    labels: Array,
    probabilities: Array,
    normalization: Normalization,
    class_names: tuple[str, ...],
    title: str,
) -> Figure:
    """Draw network inputs `(N, 784)` with predictions, in their order; without any, only a title.

    A caption gives the class, for a wrong prediction the one that it was taken for, and the
    confidence.
    """
    rows = max(1, math.ceil(len(inputs) / COLUMNS))
    width, head = COLUMNS * _INCHES, 0.4
    predicted = probabilities.argmax(axis=1)
    right = (predicted == labels).tolist()
    captions = [
        wrapped(
            class_names[true] + ("" if said == true else f" taken for {class_names[said]}"), LETTERS
        )
        + f"\n{row[said]:.0%}"
        for said, true, row in zip(predicted, labels, probabilities, strict=True)
    ]
    height = rows * _INCHES * _cell_height(captions) / _CELL
    with style():
        figure = Figure(figsize=(width, height + head))
        figure.suptitle(title, x=0.01, y=1 - 0.1 / (height + head), ha="left", fontweight="bold")
        ax = figure.add_axes((0, 0, 1, height / (height + head)))
        brightness = normalization.undo(inputs).reshape(-1, HEIGHT, WIDTH)
        draw_predictions(ax, brightness, captions, right, rows)
    return figure


def _cell_height(captions: list[str]) -> int:
    """Return the height of an image with the longest caption, in pixels of the image."""
    lines = 1 + max((caption.count("\n") for caption in captions), default=0)
    return HEIGHT + 2 + math.ceil(_LINE * max(3, lines))


def most_confident_mistakes(labels: Array, probabilities: Array, count: int) -> Array:
    """Return the rows of up to `count` wrong predictions, the most confident first."""
    said = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(said != labels)
    order = np.argsort(-probabilities[wrong, said[wrong]], kind="stable")
    return wrong[order[:count]]
