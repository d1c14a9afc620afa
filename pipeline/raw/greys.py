"""Pixels of any numeric type as bytes: whole numbers from 0 to 255, or fractions from 0 to 1."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, exact
from pipeline.raw.contents import Reading


@dataclass(frozen=True)
class _Value:
    """A pixel and the numbers of its image and of the pixel in it, from 0."""

    value: np.number[Any]
    image: int
    pixel: int


@dataclass(frozen=True)
class Greys:
    """The range of the pixels in a file, found by reading it once.

    low, high: the smallest and largest; fraction: the first that is not a whole number.
    """

    low: _Value
    high: _Value
    fraction: _Value | None

    def factor(self, place: object, where: Callable[[int, int], str]) -> int:
        """Return what the pixels must be multiplied by: 255 for fractions from 0 to 1, or 1.

        `where` puts the numbers of an image and a pixel into words. Raises DataError for any other
        range.
        """
        if self.low.value < 0 and self.fraction:
            raise DataError(
                f"{place} must have pixels from 0 to 255 or from 0 to 1, got "
                f"{exact(self.low.value)} to {exact(self.high.value)}; undo their normalisation"
            )
        if self.fraction and self.high.value <= 1:
            return 255
        for bad in (self.low, self.high, self.fraction):
            if bad and not (0 <= bad.value <= 255 and bad.value == int(bad.value)):
                raise DataError(
                    f"{place} must hold whole numbers from 0 to 255, or fractions from 0 to 1, "
                    f"got {exact(bad.value)} {where(bad.image, bad.pixel)}"
                )
        return 1


def survey(place: object, blocks: Iterable[NDArray[Any]]) -> Greys | None:
    """Return the range of pixels in blocks of (n, ...) numbers; None if there are none.

    Raises DataError for anything but finite numbers.
    """
    low = high = fraction = None
    count = 0
    for block in blocks:
        pixels = block.reshape(len(block), -1)
        if not pixels.size:
            continue
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise DataError(f"{place} must hold finite numbers, got {_first_infinite(pixels)}")

        def at(position: Any, pixels: NDArray[Any] = pixels, count: int = count) -> _Value:
            image, pixel = divmod(int(position), pixels.shape[1])
            return _Value(pixels[image, pixel], count + image, pixel)

        lowest, highest = at(pixels.argmin()), at(pixels.argmax())
        low = lowest if low is None or lowest.value < low.value else low
        high = highest if high is None or highest.value > high.value else high
        if fraction is None and pixels.dtype.kind == "f":
            broken = pixels != np.floor(pixels)
            if broken.any():
                fraction = at(broken.argmax())
        count += len(pixels)
    return None if low is None or high is None else Greys(low, high, fraction)


def as_bytes(
    place: object, blocks: Callable[[], Iterator[NDArray[Any]]], reading: Reading
) -> Iterator[NDArray[np.uint8]]:
    """Yield blocks of numbers as uint8, block by block, after reading them once for their range.

    Raises DataError, naming the place, for pixels outside 0..255 and 0..1.
    """
    first = next(blocks(), None)
    if first is None or first.dtype == np.uint8:
        yield from blocks()
        return
    greys = survey(place, blocks())
    factor = 1 if greys is None else greys.factor(place, _place_of)
    if factor != 1:
        reading.say(f"{place} has pixels from 0 to 1, which are multiplied by 255")
    for block in blocks():
        yield scaled(block, factor)


def scaled(pixels: NDArray[Any], factor: int) -> NDArray[np.uint8]:
    """Return pixels times a factor, rounded to whole numbers."""
    if factor == 1:
        return pixels.astype(np.uint8)
    rounded: NDArray[np.uint8] = np.rint(pixels * np.float64(factor)).astype(np.uint8)
    return rounded


def _place_of(image: int, pixel: int) -> str:
    return f"in image {image + 1}, pixel {pixel + 1}"


def _first_infinite(pixels: NDArray[Any]) -> Any:
    return pixels[~np.isfinite(pixels)][0]
