"""A user's own picture, converted to look like an image of a dataset.

A dataset's setting `pictures` says how. MNIST's digits were scaled to fit a box of 20x20 pixels,
keeping their proportions, and placed in a 28x28 field with their centre of mass at its centre (https://yann.lecun.com/exdb/mnist/).
"""

import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.base.errors import DataError
from pipeline.datasets.examples import Pictures
from pipeline.datasets.images import HEIGHT, WIDTH

BOX = 20
INK = 0.2
"""Minimum strength of a pixel of the digit, as a share of the strongest one."""

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
"""Pillow reads 40 more, one of which runs an external program."""
MOST_PIXELS = 12_000_000
"""Limit of a picture, such as 4,000x3,000: decoding a WebP of that size takes 0.24 GB."""
MOST_JPEG_PIXELS = 50_000_000
"""Limit of a camera's picture: a baseline JPEG is decoded row by row, at an eighth of its size."""
SIDE = 1024
"""Pixels; a picture with a side at least twice as long is reduced before any computation."""

CONTRAST = 16
"""Minimum difference between strokes and background, in grey levels of 255."""


def read_picture(path: Path, pictures: Pictures = "digit") -> NDArray[np.uint8]:
    """Read a picture as an image of a dataset, `(28, 28)` uint8.

    pictures: `digit` makes strokes light on black and centres them as in MNIST. The picture may be
    grey or colour, of any size, dark on light or light on dark; transparent pixels count as paper.
    `as_is` reduces the picture to 28x28 pixels, and keeps its grey values and proportions;
    transparent pixels count as background, 0.

    An image of the dataset, saved as a picture, gives that image back. Raises DataError, naming the
    file, if it is not a picture or shows nothing.
    """
    coloured = _read(path)
    try:
        if pictures == "as_is":
            return _reduced(_on_paper(coloured, "black"))
        grey = _on_paper(coloured, "white")
        if np.ptp(grey) < CONTRAST:  # white strokes on a transparent background
            grey = _on_paper(coloured, "black")
        return grey if _is_centred(grey) else center_digit(grey)
    except DataError as error:
        raise DataError(f"{path} {error}") from error


def _read(path: Path) -> Image.Image:
    """Read a picture as RGBA, upright and reduced to a manageable number of pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged EXIF data, which is ignored
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as opened:
                by_rows = opened.format in ("JPEG", "MPO") and "progressive" not in opened.info
                most = MOST_JPEG_PIXELS if by_rows else MOST_PIXELS
                if opened.width * opened.height > most:
                    raise DataError(
                        f"{path} is too large a picture: it must have at most {most:,} pixels, "
                        f"got {opened.width}x{opened.height}"
                    )
                return _small(opened)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{path} is a folder, not a picture") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not a PNG, JPEG, BMP, GIF or WebP picture") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is too large a picture: {error}") from error
    except (OSError, SyntaxError, ValueError, struct.error) as error:  # from Pillow's decoders
        raise DataError(f"{path} is a damaged picture: {error}") from error


def _reduced(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture at the size of an image, extended by its background to a square."""
    background = int(np.median(_border(grey)))
    square = ImageOps.pad(
        Image.fromarray(grey), (WIDTH, HEIGHT), Image.Resampling.BOX, color=background
    )
    return np.asarray(square)


def _is_centred(grey: NDArray[np.uint8]) -> bool:
    """Whether a picture is one of a set's own images, or made like one: 28x28, centred, on black.

    The digits of MNIST are up to 20 pixels long, with their centre of mass at pixel 14; those of
    EMNIST up to 24, with their box in the middle.
    """
    if grey.shape != (HEIGHT, WIDTH) or np.median(_border(grey)) > 0 or grey.max() < CONTRAST:
        return False
    rows, columns = (np.flatnonzero(grey.any(axis=axis)) for axis in (1, 0))
    long_enough = 16 <= 1 + max(np.ptp(rows), np.ptp(columns)) <= 24
    mass = [np.average(np.arange(28), weights=grey.sum(axis=axis)) for axis in (1, 0)]
    middle = [(each[0] + each[-1]) / 2 for each in (rows, columns)]
    off = min(np.abs(np.subtract(each, 13.75)).max() for each in (mass, middle))
    return bool(long_enough and off < 1.5)


def center_digit(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Convert a grey picture `(H, W)` of one digit to MNIST's form, `(28, 28)` uint8."""
    ink = _ink(grey)
    rows, columns = np.nonzero(ink >= INK)
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    digit = Image.fromarray((ink[top:bottom, left:right] * 255).astype(np.uint8))
    scale = BOX / max(digit.size)
    size = (max(1, round(digit.width * scale)), max(1, round(digit.height * scale)))
    small = np.asarray(digit.resize(size, Image.Resampling.LANCZOS), dtype=np.float64)
    if not small.any():
        raise DataError("has strokes that are too thin for its size")
    # Thin strokes fade when scaled down; MNIST's are at full strength.
    small = np.rint(small * (255 / small.max()))
    center = [
        float(np.average(np.arange(small.shape[axis]), weights=small.sum(axis=1 - axis)))
        for axis in (0, 1)
    ]
    field = np.zeros((HEIGHT, WIDTH), np.uint8)
    y = _place(center[0], small.shape[0], HEIGHT)
    x = _place(center[1], small.shape[1], WIDTH)
    field[y : y + small.shape[0], x : x + small.shape[1]] = small
    return field


def _small(picture: Image.Image) -> Image.Image:
    """Return a picture as RGBA, upright and reduced to a manageable number of pixels."""
    picture.draft(None, (SIDE, SIDE))  # decodes a JPEG at as little as an eighth of its size
    if picture.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
        small = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGBA")
    else:
        small = picture.convert("RGBA")
    if (factor := max(picture.size) // SIDE) > 1:
        small = small.reduce(factor)
    small.info = picture.info  # holds the camera's orientation
    return ImageOps.exif_transpose(small)


def _on_paper(picture: Image.Image, colour: str) -> NDArray[np.uint8]:
    """Blend an RGBA picture onto paper of a colour."""
    paper = Image.new("RGBA", picture.size, colour)
    return np.asarray(Image.alpha_composite(paper, picture).convert("L"))


def _border(grey: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _ink(grey: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return the strength of strokes in 0..1, with the picture's border as the background."""
    paper = np.median(_border(grey))
    ink = np.abs(grey - paper)
    # Strokes are all darker or all lighter than the background; the rest is noise.
    side = np.sign(grey - paper)
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
