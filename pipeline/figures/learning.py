"""An animation of one network's training: its first filters, and its accuracy."""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator, PercentFormatter
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from pipeline.base.files import whole_file
from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.figures.style import BLUE, INK, PALE, SIGNED, literal, style
from pipeline.nn.snapshot_file import Moments

COLUMNS, ROWS = 6, 4
"""Filters side by side and below each other."""
SCALE, GAP = 3, 12
"""Pixels of the animation per pixel of a filter, and between two filters."""
SIZE = (1200, 480)
"""Pixels of the animation, meant to be shown at half of that."""
LEFT, TOP = 24, 72
"""Where the filters begin."""
SHADES = 20
"""Shades of each colour of the filters: few, so that a frame has a palette."""
PAUSE, LAST = 400, 3000
"""Milliseconds for which a moment, and the epoch kept, are shown."""
TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000, 10000)


def learning_frames(moments: Moments, title: str) -> list[Image.Image]:
    """Draw a frame for each moment up to the epoch kept. All have the same few colours."""
    count = moments.last + 1
    filters = moments.filters[:count, : COLUMNS * ROWS]
    largest = np.maximum(np.abs(filters).max(axis=(0, 2), keepdims=True), np.finfo(float).tiny)
    shares = np.rint(SHADES * filters / largest) / SHADES
    paper, places = _paper(moments, title, count)
    font = ImageFont.truetype(
        findfont("DejaVu Sans:bold"), 30, layout_engine=ImageFont.Layout.BASIC
    )
    frames = []
    for number, place in enumerate(places):
        frame = paper.copy()
        for index, picture in enumerate(_coloured(shares[number])):
            row, column = divmod(index, COLUMNS)
            left = LEFT + column * (WIDTH * SCALE + GAP)
            frame.paste(picture, (left, TOP + row * (HEIGHT * SCALE + GAP)))
        pen = ImageDraw.Draw(frame)
        x, y = (round(float(value)) for value in place)
        pen.ellipse((x - 10, y - 10, x + 10, y + 10), fill=BLUE)
        epoch = int(moments.epochs[number])
        when = f"epoch {epoch}" if epoch else "before training"
        pen.text((SIZE[0] - 40, 300), when, INK, font, anchor="rs")
        pen.text((SIZE[0] - 40, 344), f"{moments.accuracies[number]:.1%}", BLUE, font, anchor="rs")
        frames.append(_with_few_colours(frame))
    return frames


def save_animation(path: Path, frames: list[Image.Image]) -> None:
    """Write frames as a lossless WebP that repeats.

    From libwebp 1.5 on, lossless encoding has no floating-point arithmetic, so the bytes are the
    same on every processor (https://github.com/webmproject/libwebp/blob/main/NEWS).
    """
    pauses = [PAUSE] * (len(frames) - 1) + [LAST]
    with whole_file(path) as temporary:
        frames[0].save(
            temporary, format="WEBP", save_all=True, append_images=frames[1:], duration=pauses,
            loop=0, lossless=True, quality=20, method=4,
        )  # fmt: skip


def _with_few_colours(frame: Image.Image) -> Image.Image:
    """Round red, green and blue to 18 values, so that a palette holds all colours of a frame."""
    return frame.point([15 * round(value / 15) for value in range(256)] * 3)


def _coloured(shares: NDArray[np.float64]) -> list[Image.Image]:
    """Return filters (n, 784) of numbers from -1 to 1 as pictures, red to blue, white at 0."""
    colours = matplotlib.colormaps[SIGNED]((shares + 1) / 2, bytes=True)[..., :3]
    size = (WIDTH * SCALE, HEIGHT * SCALE)
    return [
        Image.fromarray(np.ascontiguousarray(each.reshape(HEIGHT, WIDTH, 3))).resize(
            size, Image.Resampling.NEAREST
        )
        for each in colours
    ]


def _paper(moments: Moments, title: str, count: int) -> tuple[Image.Image, NDArray[np.float64]]:
    """Draw what all frames share, and return it with the place of each moment on the curve."""
    epochs, accuracies = moments.epochs[:count], moments.accuracies[:count]
    width, height = SIZE
    with style():
        figure = Figure(figsize=(width / 200, height / 200), dpi=200)
        figure.suptitle(
            literal(title), x=LEFT / width, y=0.97, ha="left", va="top", fontweight="bold"
        )
        ax = figure.add_axes((0.61, 0.2, 0.36, 0.64))
        ax.plot(np.log1p(epochs), accuracies, color=PALE)
        ax.set_ylim(0, 1)
        ax.margins(x=0.04)
        last = int(epochs[-1])
        ticks = [*(tick for tick in TICKS if tick < last / 1.5), last]
        ax.xaxis.set_major_locator(FixedLocator(np.log1p(ticks).tolist()))
        ax.xaxis.set_major_formatter(FixedFormatter([str(tick) for tick in ticks]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.tick_params(labelsize=8)
        ax.set_xlabel("epoch", fontsize=8)
        ax.set_title("validation accuracy", fontsize=8, fontweight="normal")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = ax.transData.transform(np.column_stack([np.log1p(epochs), accuracies]))
    pixels[:, 1] = height - pixels[:, 1]
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB"), pixels
