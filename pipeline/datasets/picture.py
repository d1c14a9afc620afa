"""A user's own picture, converted to look like an image of a dataset.

A dataset's setting `pictures` says how. MNIST's digits were scaled to fit a box of 20x20 pixels,
keeping their proportions, and placed in a 28x28 field with their centre of mass at its centre (https://yann.lecun.com/exdb/mnist/).
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from pipeline.base.errors import DataError
from pipeline.datasets.examples import Pictures
from pipeline.datasets.images import HEIGHT, PICTURE_ERRORS, WIDTH, damaged_picture
from pipeline.datasets.segmentation import CONTRAST, find_strokes

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

SMALL = 40
"""Pixels; in a picture whose sides are shorter, everything belongs to the digit."""
FINE = 7 * BOX
"""Pixels; a digit that is at least twice as long is reduced before it is scaled."""
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"mif1", b"msf1")
"""Marks of Apple's pictures and their relatives, at byte 8 of a file."""


Steps = list[tuple[str, NDArray[np.uint8]]]


@dataclass(frozen=True)
class Prepared:
    """Images `(N, 28, 28)` uint8 made of a picture, one per digit, and how they came about.

    steps: returns titles and grey pictures `(H, W)` uint8, from the picture to what the network
    sees. doubt: why the images may not be what was meant, or None.
    """

    images: NDArray[np.uint8]
    steps: Callable[[], Steps]
    doubt: str | None = None


def read_picture(path: Path, pictures: Pictures = "digit") -> NDArray[np.uint8]:
    """Read a picture as one image of a dataset, `(28, 28)` uint8, as `prepare_picture` does.

    Raises DataError also if the picture shows several digits.
    """
    prepared = prepare_picture(path, pictures)
    if (count := len(prepared.images)) > 1:
        raise DataError(f"{path} shows {count} digits, where one is expected")
    image: NDArray[np.uint8] = prepared.images[0]
    return image


def prepare_picture(
    source: Path | BinaryIO, pictures: Pictures = "digit", *, invert: bool = False
) -> Prepared:
    """Make images of a dataset out of a picture: a path, or an open file.

    pictures: `digit` finds the digits in a picture or photograph, grey or colour, of any size, dark
    on light or light on dark, and makes them light on black and centred as in MNIST; transparent
    pixels count as paper. `as_is` reduces the picture to 28x28 pixels, and keeps its grey values
    and proportions; transparent pixels count as background, 0. invert: exchange light and dark
    first, which only `as_is` needs.

    An image of the dataset, saved as a picture, gives that image back. Raises DataError, naming the
    file, if it is not a picture or shows nothing.
    """
    name = str(source) if isinstance(source, Path) else "the picture"
    coloured = _read(source, name)
    try:
        if pictures == "as_is":
            grey = _on_paper(coloured, "white" if invert else "black")
            grey = 255 - grey if invert else grey
            image = _reduced(grey)
            light = np.median(_border(grey)) > 127
            doubt = (
                "has a light background, where the set's images have a dark one" if light else None
            )
            steps = [("picture", grey), ("reduced", image)]
            return Prepared(image[np.newaxis], lambda: steps, doubt)
        grey = _on_paper(coloured, "white")
        if np.ptp(grey) < CONTRAST:  # white strokes on a transparent background
            grey = _on_paper(coloured, "black")
        if _is_centred(grey):
            return Prepared(grey[np.newaxis], lambda: [("picture, taken as it is", grey)])
        if max(grey.shape) < SMALL:
            image = center_digit(grey.astype(np.float64))
            return Prepared(image[np.newaxis], lambda: [("picture", grey), ("digit 1", image)])
        return _digits(grey)
    except DataError as error:
        raise DataError(f"{name} {error}") from error


def _digits(grey: NDArray[np.uint8]) -> Prepared:
    """Find the digits in a grey picture and bring each to MNIST's form."""
    strokes = find_strokes(grey)
    if len(strokes.symbols) == 1 and strokes.is_all(strokes.symbols[0]):
        # Nothing has to be left out, so the digit is taken from the picture at its full size.
        around = tuple(
            slice(max(0, strokes.factor * (side.start - 2)), strokes.factor * (side.stop + 2))
            for side in strokes.box(strokes.symbols[0])
        )
        digit = Image.fromarray(grey[around])
        factor = max(1, max(digit.size) // FINE)
        images = [center_digit(np.asarray(digit.reduce(factor), np.float64))]
    else:
        images = [fit_digit(strokes.cut_out(each, grey, FINE)) for each in strokes.symbols]

    def steps() -> Steps:
        found = np.where(strokes.mask, np.uint8(90), np.uint8(0))
        found[np.logical_or.reduce(strokes.symbols)] = 255
        return [
            ("picture", grey),
            ("without shadows", np.rint(255 * strokes.ink).astype(np.uint8)),
            ("strokes", found),
            *((f"digit {number}", image) for number, image in enumerate(images, start=1)),
        ]

    return Prepared(np.stack(images), steps)


def _read(source: Path | BinaryIO, name: str) -> Image.Image:
    """Read a picture as L or RGBA, upright and reduced to a manageable number of pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about damaged EXIF data, which is ignored
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as opened:
                # Of a camera's MPO the first is the photograph, and the others are previews.
                if getattr(opened, "is_animated", False) and opened.format != "MPO":
                    raise DataError(
                        f"{name} holds several pictures, as an animation does; save the one that "
                        "is meant as a PNG picture"
                    )
                if opened.mode.startswith("I") and opened.has_transparency_data:
                    raise DataError(
                        f"{name} has 16 bits and transparent pixels; save it with 8 bits"
                    )
                by_rows = opened.format in ("JPEG", "MPO") and "progressive" not in opened.info
                most = MOST_JPEG_PIXELS if by_rows else MOST_PIXELS
                if opened.width * opened.height > most:
                    raise DataError(
                        f"{name} is too large a picture: it must have at most {most:,} pixels, "
                        f"got {opened.width}x{opened.height}"
                    )
                return _small(opened)
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist") from error
    except IsADirectoryError as error:
        raise DataError(f"{name} is a folder, not a picture") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name} is {_kind(source)}") from error
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{name} is too large a picture: {error}") from error
    except PICTURE_ERRORS as error:
        raise damaged_picture(name, error) from error


def _kind(source: Path | BinaryIO) -> str:
    """Return what a file is that Pillow does not know, and what to do about it."""
    with open(source, "rb") if isinstance(source, Path) else source as file:
        file.seek(0)
        start = file.read(32)
    for name, matches in (
        ("TIFF", start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
        ("HEIC", start[4:8] == b"ftyp" and start[8:12] in _HEIC),
        ("AVIF", start[4:8] == b"ftyp" and start[8:12] in (b"avif", b"avis")),
        ("PDF", start[:5] == b"%PDF-"),
        ("SVG", b"<svg" in start),
        ("Windows icon (ICO)", start[:4] == b"\0\0\1\0"),
    ):
        if matches:
            return f"in {name} format, which is not read here; save it as a PNG or JPEG picture"
    return "not a PNG, JPEG, BMP, GIF or WebP picture"


def _reduced(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a picture at the size of an image, extended by its background to a square."""
    background = int(np.median(_border(grey)))
    square = ImageOps.pad(
        Image.fromarray(grey), (WIDTH, HEIGHT), Image.Resampling.BOX, color=background
    )
    image: NDArray[np.uint8] = np.array(square)
    return image


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
    return fit_digit(ink[top:bottom, left:right])


def fit_digit(ink: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """Scale and place the ink of one digit, `(H, W)` in 0..1 and cropped, as in MNIST."""
    digit = Image.fromarray((ink * 255).astype(np.uint8))
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
    """Return a picture as L or RGBA, upright and reduced to a manageable number of pixels."""
    picture.draft(None, (SIDE, SIDE))  # decodes a JPEG at as little as an eighth of its size
    if picture.mode.startswith("I"):  # Pillow would clip more than 8 bits, not scale them
        small = Image.fromarray(_eight_bits(np.asarray(picture)))
    elif picture.has_transparency_data:
        small = picture.convert("RGBA")
    elif picture.mode == "L":
        picture.load()
        small = picture
    else:
        small = (picture.convert("RGB") if picture.mode in ("P", "CMYK") else picture).convert("L")
    if (factor := max(picture.size) // SIDE) > 1:
        small = small.reduce(factor)
    small.info = picture.info  # holds the camera's orientation
    ImageOps.exif_transpose(small, in_place=True)
    return small


def _eight_bits(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale grey values of up to 16 bits to 8 bits.

    Cameras and scanners store 10, 12 or 14 bits in files of 16. The number is told by the largest
    value.
    """
    bits = int(values.max()).bit_length()
    shift = max(0, bits + bits % 2 - 8)
    scaled: NDArray[np.uint8] = (values >> shift).astype(np.uint8)
    return scaled


def _on_paper(picture: Image.Image, colour: str) -> NDArray[np.uint8]:
    """Return a picture as grey values, an RGBA picture blended onto paper of a colour."""
    if picture.mode == "L":
        return np.array(picture)
    paper = Image.new("RGBA", picture.size, colour)
    grey: NDArray[np.uint8] = np.array(Image.alpha_composite(paper, picture).convert("L"))
    return grey


def _border(grey: NDArray[Any]) -> NDArray[Any]:
    return np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])


def _ink(grey: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return the strength of strokes in 0..1, with the picture's border as the background."""
    paper = np.median(_border(grey))
    # Strokes are all darker or all lighter than the background; the rest is noise.
    darker, lighter = np.maximum(paper - grey, 0), np.maximum(grey - paper, 0)
    ink = darker if darker.sum() >= lighter.sum() else lighter
    strongest = ink.max()
    if strongest < CONTRAST:
        raise DataError("shows no digit: all its pixels are nearly alike")
    ink /= strongest
    return np.where(ink < INK / 2, 0, ink)


def _place(center: float, size: int, field: int) -> int:
    # MNIST's centres of mass lie at pixel 14 of 0..27, not at 13.5.
    return int(np.clip(round(field / 2 - center), 0, field - size))
