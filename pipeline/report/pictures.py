"""Images inside a page: PNG files as data URIs."""

import base64
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipeline.base.errors import DataError
from pipeline.datasets.images import HEIGHT, WIDTH


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


def strip_picture(images: NDArray[np.uint8]) -> Picture:
    """Put images of shape (N, 28, 28) into one row, with two transparent pixels between them."""
    width = max(1, len(images) * (WIDTH + 2) - 2)
    grey_and_opacity = np.zeros((HEIGHT, width, 2), np.uint8)
    for place, image in enumerate(images):
        left = place * (WIDTH + 2)
        grey_and_opacity[:, left : left + WIDTH, 0] = image
        grey_and_opacity[:, left : left + WIDTH, 1] = 255
    content = io.BytesIO()
    Image.fromarray(grey_and_opacity, "LA").save(content, "PNG")
    return embedded_picture("of samples", content.getvalue())


def embedded_picture(name: str, png: bytes) -> Picture:
    """Return a PNG file as it is. Raises DataError, with the name, if it is not a valid image."""
    try:
        with Image.open(io.BytesIO(png)) as image:
            width, height = image.size
    except OSError as error:
        raise DataError(f"the figure {name} is not a valid image: {error}") from error
    data = base64.b64encode(png).decode()
    return Picture(f"data:image/png;base64,{data}", width, height)
