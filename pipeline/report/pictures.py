"""Images inside a page: PNG files as data URIs."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.base.errors import DataError

NEGATIVE, POSITIVE = (0, 114, 178), (204, 51, 17)
"""The colours of numbers below and above 0; the page's own in `learning.css`."""
GAMMA = 0.8
"""Exponent that makes small numbers visible."""


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def strip_picture(images: NDArray[np.uint8]) -> Picture:
    """Put images of shape (N, 28, 28) into one row, with two transparent pixels between them."""
    return _strip(np.stack([images, np.full_like(images, 255)], axis=-1), "LA")


def signed_picture(shares: NDArray[np.float64]) -> Picture:
    """Put N pictures (N, height, width) of numbers from -1 to 1 into one row, likewise.

    Blue is negative, red positive, and 0 transparent, so that it is the colour of any page.
    """
    colours = np.where(shares[..., np.newaxis] < 0, NEGATIVE, POSITIVE)
    opacity = (255 * np.abs(shares) ** GAMMA).round()[..., np.newaxis]
    return _strip(np.concatenate([colours, opacity], axis=-1).astype(np.uint8), "RGBA")


def _strip(pictures: NDArray[np.uint8], mode: str) -> Picture:
    """Put pictures (N, height, width, channels) into one row."""
    count, height, width, channels = pictures.shape
    row = np.zeros((height, max(1, count * (width + 2) - 2), channels), np.uint8)
    for place, picture in enumerate(pictures):
        left = place * (width + 2)
        row[:, left : left + width] = picture
    content = io.BytesIO()
    Image.fromarray(row, mode).save(content, "PNG")
    return embedded_picture("of samples", content.getvalue())


def embedded_picture(name: str, png: bytes) -> Picture:
    """Return a PNG file as it is. Raises DataError, with the name, if it is not a valid image."""
    try:
        with Image.open(io.BytesIO(png)) as image:
            width, height = image.size
    except OSError as error:
        raise DataError(f"the figure {name} is not a whole PNG picture") from error
    data = base64.b64encode(png).decode()
    return Picture(f"data:image/png;base64,{data}", width, height)
