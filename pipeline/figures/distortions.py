"""A digit as training sees it: distorted anew each time."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.base.params import Augment
from pipeline.datasets.augment import Distortions, distort
from pipeline.datasets.draws import key_of
from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.figures.style import style
from pipeline.nn.layers import Array

ROWS, COLUMNS = 2, 8
_GAP = 4
"""Pixels between two images."""


def distortions_figure(
    brightness: Array, strengths: Augment, rng: np.random.Generator, title: str
) -> Figure:
    """Draw an image (28, 28) of brightness 0 to 1, and sixteen distorted versions of it."""
    count = ROWS * COLUMNS
    distortions = Distortions(strengths, key_of(rng))
    drawn = distortions.draw(1, np.arange(count))
    pixels = np.round(255 * brightness).astype(np.uint8)
    versions = distort(np.repeat(pixels[np.newaxis], count, axis=0), drawn, distortions.fields)
    width, height = WIDTH + _GAP, HEIGHT + _GAP
    mosaic = np.zeros((ROWS * height, (COLUMNS + 2) * width))
    top = (ROWS * height - HEIGHT) // 2
    mosaic[top : top + HEIGHT, :WIDTH] = pixels
    for number, version in enumerate(versions):
        y, x = number // COLUMNS * height, (number % COLUMNS + 2) * width
        mosaic[y : y + HEIGHT, x : x + WIDTH] = version
    inches, head = 10.0, 0.4
    tall = inches * mosaic.shape[0] / mosaic.shape[1]
    with style():
        figure = Figure(figsize=(inches, tall + head))
        figure.suptitle(title, x=0.01, y=1 - 0.1 / (tall + head), ha="left", fontweight="bold")
        ax = figure.add_axes((0, 0, 1, tall / (tall + head)))
        ax.imshow(mosaic, cmap="gray_r", vmin=0, vmax=255)
        ax.annotate(
            "", xy=(2 * width - _GAP, top + HEIGHT / 2), xytext=(width, top + HEIGHT / 2),
            arrowprops={"arrowstyle": "->"},
        )  # fmt: skip
        ax.set_axis_off()
    return figure
