"""Folders of pictures, one folder per class, as torchvision's ImageFolder reads them."""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from pipeline.base.errors import DataError
from pipeline.datasets.images import (
    HEIGHT,
    PICTURE_ERRORS,
    WIDTH,
    LabelledImages,
    damaged_picture,
)
from pipeline.raw.contents import Content, Reading, Table
from pipeline.raw.names import split_of

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
ORIENTATION = 0x0112
"""EXIF's number of how a viewer should turn a picture; 1 is upright."""


def picture_contents(path: Path) -> list[Content]:
    """Return the picture in a file, whose folder names its class."""

    def blocks(reading: Reading) -> Iterator[LabelledImages]:
        if split_of(path.parent.name) is not None:
            raise DataError(f"{path} must lie in a folder that is called as its class")
        labels = reading.labels_of(path, [path.parent.name])
        yield LabelledImages(grey_picture(path, path)[None], labels)

    return [Table(None, blocks, labelled=split_of(path.parent.name) is None)]


def grey_picture(place: object, content: Path | bytes) -> NDArray[np.uint8]:
    """Return a picture of 28x28 pixels as (28, 28) uint8, exactly as it is stored.

    Raises DataError, naming the place, for another size, several pictures, transparent pixels, more
    than 8 bits per channel, other colours than RGB, and pixels that a viewer would turn.
    """
    source = io.BytesIO(content) if isinstance(content, bytes) else content
    try:
        with _strict(), Image.open(source, formats=FORMATS) as picture:
            if picture.size != (WIDTH, HEIGHT):
                raise DataError(
                    f"{place} must be a picture of {WIDTH}x{HEIGHT} pixels, "
                    f"got {picture.width}x{picture.height}"
                )
            if getattr(picture, "is_animated", False):
                raise DataError(f"{place} must hold one picture, got an animation or several pages")
            if picture.mode not in ("1", "L", "P", "LA", "RGB", "RGBA"):
                raise DataError(
                    f"{place} must be grey or RGB with at most 8 bits per channel, "
                    f"got mode {picture.mode}"
                )
            if (turned := picture.getexif().get(ORIENTATION, 1)) != 1:
                raise DataError(
                    f"{place} must be stored upright, got EXIF orientation {turned}; "
                    "turn its pixels and remove the mark"
                )
            if picture.has_transparency_data:
                opaque = picture.convert("RGBA")
                if np.asarray(opaque)[..., 3].min() < 255:
                    raise DataError(
                        f"{place} must have no transparent pixels; save it without alpha"
                    )
            return np.asarray(picture.convert("L"))
    except UnidentifiedImageError as error:
        raise DataError(f"{place} is not a picture in {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{place} is too large a picture: {error}") from error
    except PICTURE_ERRORS as error:
        raise damaged_picture(place, error) from error


@contextmanager
def _strict() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about damaged metadata, which is not used
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
