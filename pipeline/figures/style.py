"""The style of all figures; the same data give the same bytes."""

import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

from pipeline.base.files import whole_file

# Okabe and Ito's palette, distinguishable for colour-blind readers, https://jfly.uni-koeln.de/color/,
# and a red for what is wrong, which never stands alone: a frame or a text says so too.
BLUE, ORANGE, GREEN, RED, SKY = "#0072B2", "#D55E00", "#009E73", "#CC3311", "#56B4E9"
DPI = 130
"""Dots per inch of a saved figure: sharp at a README's width on a dense screen."""
INK, PALE = "#222222", "#DDDDDD"

LONGEST = 16
"""Characters of a class's name that figures show at most."""
SIGNED = "RdBu_r"
"""Colour map of values that may be negative, white at 0; safe for colour-blind readers."""

_STYLE: dict[str, Any] = {
    "figure.facecolor": "white",
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # carried by matplotlib: no font of the machine is asked for
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titley": 1.0,  # else each drawing measures all labels to see whether a title must move up
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


def literal(name: str) -> str:
    """Return a name in the form that matplotlib shows as it is: between two $ it sees a formula.

    A character that the font lacks is spelled by its name in Unicode, such as `ki` for a kana.
    """
    return _in_font(name).replace("$", r"\$")


def class_labels(names: Sequence[str]) -> tuple[str, ...]:
    """Return names of classes as figures show them: of up to LONGEST characters, and distinct.

    Of a longer name the middle is left out. Where that makes names equal, their places in the list
    stand in front.
    """
    shown = [_in_font(name) for name in names]
    half = LONGEST // 2
    short = [
        name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}" for name in shown
    ]
    return tuple(
        literal(label if short.count(label) == 1 else f"{place}: {label}")
        for place, label in enumerate(short)
    )


def wrapped(text: str, letters: int) -> str:
    """Break a text into lines of some letters, at spaces and slashes where there are any."""
    return textwrap.fill(text.replace("/", "/ "), letters).replace("/ ", "/")


def _in_font(name: str) -> str:
    return "".join(map(_spelled, name))


def _spelled(char: str) -> str:
    if ord(char) in _characters():
        return char
    word = unicodedata.name(char, "-").split()[-1].lower()
    return f"U+{ord(char):04X}" if "-" in word else word


@cache
def _characters() -> frozenset[int]:
    """Return the characters that the font has."""
    return frozenset(get_font(findfont(_STYLE["font.family"])).get_charmap())


@contextmanager
def style() -> Iterator[None]:
    """Apply the style, and nothing of the user's, to everything drawn inside the block."""
    defaults: dict[Any, Any] = {
        name: value for name, value in matplotlib.rcParamsDefault.items() if name != "backend"
    }
    with matplotlib.rc_context(defaults | _STYLE):
        yield


def margins(
    figure: Figure, left: float, right: float, bottom: float, top: float
) -> dict[str, float]:
    """Return margins of a grid, given in inches, as matplotlib wants them.

    Fixed margins take half the time of a layout that measures every text twice.
    """
    width, height = figure.get_size_inches()
    return {
        "left": left / width,
        "right": 1 - right / width,
        "bottom": bottom / height,
        "top": 1 - top / height,
    }


def names_width(names: Iterable[str]) -> float:
    """Return the inches that the longest of some names takes at the usual size."""
    return 0.09 * max(map(len, names), default=0)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure with a palette of 256 colours, a third of the size, and without dates."""
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    with style():
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    small = image.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    # The octree averages white with what is almost white; paper stays white.
    palette, paper = small.getpalette() or [], 3 * int(small.getpixel((0, 0)))  # type: ignore[arg-type]
    palette[paper : paper + 3] = [255, 255, 255]
    small.putpalette(palette)
    with whole_file(path) as temporary:
        small.save(temporary, format="PNG")
