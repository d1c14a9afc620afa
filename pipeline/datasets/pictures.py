"""A user's own picture, made to look like a digit of MNIST.

MNIST's digits were scaled to fit a box of 20x20 pixels, keeping their proportions, and placed in a
28x28 field with their centre of mass at its centre (https://yann.lecun.com/exdb/mnist/).
"""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.errors import DataError

BOX = 20
INK = 0.2
"""Brightness, as a share of the darkest stroke, from which a pixel belongs to the digit."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
"""Pillow knows 40 more, one of which hands the file to another program."""
MOST_PIXELS = 12_000_000
"""Pixels of a picture, as of 4,000x3,000: a WebP of as many takes 0.24 GB to unpack."""
MOST_JPEG_PIXELS = 50_000_000
"""A camera's picture may have more: it is unpacked row by row, at an eighth of its size."""
SIDE = 1024
"""Pixels; a picture of twice as many on a side is made smaller before anything is computed."""

CONTRAST = 16
"""Grey levels, of 255, between strokes and background at the least."""


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture and give `(28, 28)` uint8, light strokes on black, centred as in MNIST.

    Grey or colour, any size, dark on light or light on dark, evenly lit; transparent pixels count
    as paper.
    Raises DataError, naming the file, if it is no picture or shows nothing.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged notes on the camera, which are left aside
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                by_rows = opened.format in ("JPEG", "MPO") and "progressive" not in opened.info
                most = MOST_JPEG_PIXELS if by_rows else MOST_PIXELS
                if opened.width * opened.height > most:
                    raise DataError(
                        f"{path} is too large a picture: it must have at most {most:,} pixels, "
                        f"got {opened.width}x{opened.height}"
                    )
                coloured = _small(opened)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a picture") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not a PNG, JPEG, BMP, GIF or WebP picture") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is too large a picture: {error}") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # what Pillow lets through
        raise DataError(f"{path} is a damaged picture: {error}") from error
    try:
        return center_digit(_on_paper(coloured))
    except DataError as error:
        raise DataError(f"{path} {error}") from error


def center_digit(grey: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Turn a grey picture `(H, W)` of one digit into MNIST's form, `(28, 28)` uint8."""
    ink = _ink(grey)
    rows, columns = np.nonzero(ink >= INK)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    digit = Image.fromarray((ink[top:bottom, left:right] * 255).astype(np.uint8))
    scale = BOX / max(digit.size)
    size = (max(1, round(digit.width * scale)), max(1, round(digit.height * scale)))
    small = np.asarray(digit.resize(size, Image.Resampling.LANCZOS), dtype=np.float64)
    if not small.any():
        raise DataError("shows strokes that are too thin for its size")
    # Thin strokes fade when they are made smaller; MNIST's are at full strength.
    small = np.rint(small * (255 / small.max()))
    center = ndimage.center_of_mass(small)
    field = np.zeros((HEIGHT, WIDTH), np.uint8)
    y = _place(center[0], small.shape[0], HEIGHT)
    x = _place(center[1], small.shape[1], WIDTH)
    field[y : y + small.shape[0], x : x + small.shape[1]] = small
    return field


def _small(picture: Image.Image) -> Image.Image:
    """Give a picture upright, as RGBA, with few enough pixels to compute with."""
    picture.draft(None, (SIDE, SIDE))  # a JPEG can be unpacked at an eighth of its size
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        small = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGBA")
    else:
        small = picture.convert("RGBA")
    if (factor := max(picture.size) // SIDE) > 1:
        small = small.reduce(factor)
    small.info = picture.info  # says how the camera was held
    return ImageOps.exif_transpose(small)


def _on_paper(picture: Image.Image) -> NDArray[np.float64]:
    """Lay an RGBA picture on white paper, or on black where that would hide white strokes."""
    for colour in ("white", "black"):
        paper = Image.new("RGBA", picture.size, colour)
        grey = np.asarray(Image.alpha_composite(paper, picture).convert("L"), dtype=np.float64)
        if np.ptp(grey) >= CONTRAST:
            break
    return grey


def _ink(grey: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Give strokes as 0..1 on 0, taking the picture's border for its background."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    ink = np.abs(grey - np.median(border))
    # Strokes lie on one side of the background; what lies on the other is noise.
    side = np.sign(grey - np.median(border))
    darker, lighter = ink[side < 0].sum(), ink[side > 0].sum()
    ink[side == (1 if darker >= lighter else -1)] = 0
    strongest = ink.max()
    if strongest < CONTRAST:
        raise DataError("shows no digit: all its pixels are nearly alike")
    ink /= strongest
    return np.where(ink < INK / 2, 0, ink)


def _place(center: float, size: int, field: int) -> int:
    # MNIST's centres of mass lie at pixel 14 of 0..27, not at 13.5.
    return int(np.clip(round(field / 2 - center), 0, field - size))
