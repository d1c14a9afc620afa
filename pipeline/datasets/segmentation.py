"""The strokes in a photograph of handwriting, one symbol at a time.

A picture goes through the steps of document analysis: its background is estimated locally, so that
shadows do not matter; strokes are what differs from it by more than the grain of the paper; ruled
lines and frames are taken out; and connected components near each other form a symbol, while specks
are left out. Thresholds are by Otsu (https://doi.org/10.1109/TSMC.1979.4310076), with hysteresis as
Canny's; lines are told from strokes by their run lengths, as in the removal of staff lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from pipeline.base.errors import DataError

SIDE = 192
"""Pixels; a picture with a longer side is reduced by a whole number before strokes are sought."""
GRID = 40
"""Maximum number of blocks along a side, in which the background is estimated."""
CONTRAST = 16
"""Minimum difference between strokes and background, in grey levels of 255."""
GRAIN = 3.0
"""Strokes are stronger than the paper's grain by this factor of its standard deviation."""
FAINT, STRONG = 0.2, 0.5
"""A stroke is at least FAINT everywhere and STRONG somewhere, as a share of the usual stroke."""

_EIGHT = np.ones((3, 3), bool)
"""Pixels that touch at a corner are connected."""

Mask = NDArray[np.bool_]
Grey = NDArray[np.float32]


@dataclass(frozen=True)
class Strokes:
    """What was found in a picture, step by step; all arrays are `(H, W)`.

    grey: the picture, reduced. background: its paper without strokes, in the same grey levels. ink:
    the strength of strokes, 1 for the usual stroke of this picture. mask: the strokes, without
    lines, frames and grain. symbols: the strokes of each symbol, in reading order. usual: the
    difference of the usual stroke from the background. factor: by how much the picture was reduced.
    """

    grey: Grey
    background: Grey
    ink: Grey
    mask: Mask
    symbols: list[Mask]
    usual: float
    factor: int

    def box(self, symbol: Mask) -> tuple[slice, slice]:
        """Return the rows and columns of a symbol."""
        rows, columns = (np.flatnonzero(symbol.any(axis=axis)) for axis in (1, 0))
        return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)

    def cut_out(self, symbol: Mask, picture: NDArray[np.uint8], longest: int) -> Grey:
        """Return the ink of one symbol alone, cropped to its box.

        It is taken from the picture itself, reduced as long as a side stays at least `longest`.
        """
        box = self.box(symbol)
        rows, columns = (slice(self.factor * each.start, self.factor * each.stop) for each in box)
        whole = picture[rows, columns]
        grey = _reduced(whole, max(1, max(whole.shape) // longest))
        size = grey.shape[::-1]
        background = Image.fromarray(self.background[box]).resize(size, Image.Resampling.BILINEAR)
        mask = Image.fromarray(symbol[box]).resize(size, Image.Resampling.NEAREST)
        ink = np.clip((grey - np.asarray(background)) / self.usual, 0, 1)
        return np.where(np.asarray(mask), ink, 0)

    def is_all(self, symbol: Mask) -> bool:
        """Whether there is nothing in the picture but this symbol on even paper."""
        rows, columns = self.box(symbol)
        rest = np.abs(self.grey - np.median(self.background[::4, ::4]))
        strength = rest[symbol].max()
        rest[
            max(0, rows.start - 2) : rows.stop + 2, max(0, columns.start - 2) : columns.stop + 2
        ] = 0
        return bool(rest.max() < 0.5 * FAINT * strength)


def find_strokes(picture: NDArray[np.uint8]) -> Strokes:
    """Find the symbols in a grey picture `(H, W)`.

    Raises DataError, without the name of the picture, if it shows no symbol.
    """
    factor = -(-max(picture.shape) // SIDE)
    grey = _reduced(picture, factor)
    if np.ptp(grey) < CONTRAST:
        raise DataError("shows no digit: all its pixels are nearly alike")
    is_light = _strokes_are_light(grey)
    background = _background(255 - grey if is_light else grey)
    if is_light:
        background = 255 - background
    difference = grey - background if is_light else background - grey
    threshold = _otsu(difference)
    grain = 1.4826 * float(np.median(np.abs(difference[difference <= threshold])))
    least = max(CONTRAST, 2 * GRAIN * grain)
    strengths = [each for each in _strengths(difference, threshold, grain) if each >= least]
    if not strengths:
        raise DataError("shows no digit: nothing stands out from its background")
    for clean in (True, False):  # what looks like lines may be all that there is
        for strength in strengths:
            ink = np.clip(difference / strength, 0, 1)
            faint = max(FAINT, GRAIN * grain / strength)
            visible = ink >= faint
            if clean:
                visible &= ~_lines(visible) & ~_lines(visible.T).T
            found = _with_strong_parts(visible, visible & (ink >= STRONG))
            if clean:
                found = _without_frames(found)
            if symbols := _symbols(found, ink):
                usual = strength if is_light else -strength
                return Strokes(grey, background, ink, found.mask, symbols, usual, factor)
    raise DataError("shows no digit: only specks and lines stand out from its background")


def _strengths(difference: Grey, threshold: float, grain: float) -> list[float]:
    """Return what the strength of the strokes may be, the likelier first.

    Where what stands out falls into two groups, such as ink and printed lines, the stronger is the
    ink. It may also be a frame around a drawing in pencil, which is then below the threshold.
    """
    strokes = difference[difference > threshold]
    found = [_upper_quartile(strokes)]
    stronger = strokes > _otsu(strokes)
    if 0.03 < stronger.mean() < 1 and strokes[stronger].mean() > 2 * strokes[~stronger].mean():
        found.insert(0, _upper_quartile(strokes[stronger]))
    weaker = difference[(difference > 2 * GRAIN * grain) & (difference <= threshold)]
    if len(weaker) > 0.003 * difference.size:
        found.append(_upper_quartile(weaker))
    return found


def _upper_quartile(values: Grey) -> float:
    at = 3 * len(values) // 4
    return float(np.partition(values, at)[at])


def _strokes_are_light(grey: Grey) -> bool:
    """Whether strokes are lighter than the paper: the rarer pixels deviate farther from the mean.

    Where strokes fill about half of the picture, its border is taken as the paper.
    """
    deviation = grey - _enlarged(ndimage.uniform_filter(_blocks(grey), GRID // 2), grey.shape)
    deviation -= deviation.mean()
    square = deviation * deviation
    skewness = float((square * deviation).mean() / square.mean() ** 1.5)
    if abs(skewness) > 0.3:
        return skewness > 0
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    return bool(np.median(border) < grey.mean())


def _background(grey: Grey) -> Grey:
    """Return the paper under dark strokes.

    A closing larger than the strokes gives a first estimate; then the paper is the mean of all
    pixels around that are not strokes by the first.
    """
    coarse = _blocks(grey)
    closed = ndimage.grey_closing(coarse, max(coarse.shape) // 2, mode="nearest")
    difference = _enlarged(closed, grey.shape) - grey
    paper = difference <= _otsu(difference)
    share, total = _blocks(paper.astype(np.float32)), _blocks(grey * paper)
    mean = closed
    for window in (9, 3):
        near, sum_near = ndimage.uniform_filter(np.stack([share, total]), (1, window, window))
        mean = np.where(near > 0.25, sum_near / np.maximum(near, 0.25), mean)
    return _enlarged(mean.astype(np.float32), grey.shape)


def _block_size(shape: tuple[int, ...]) -> int:
    return -(-max(shape) // GRID)


def _blocks(values: Grey) -> Grey:
    return _reduced(values, _block_size(values.shape))


def _reduced(values: NDArray[Any], factor: int) -> Grey:
    """Return the means of square blocks; those at the lower and right edge may be smaller."""
    return np.asarray(Image.fromarray(values).reduce(factor), np.float32)


def _enlarged(blocks: Grey, shape: tuple[int, ...]) -> Grey:
    """Interpolate linearly between the centres of blocks."""
    height, width = shape
    size = _block_size(shape)
    box = (0, 0, width / size, height / size)  # the last blocks may be smaller
    values = Image.fromarray(blocks).resize((width, height), Image.Resampling.BILINEAR, box)
    return np.asarray(values)


def _otsu(difference: Grey) -> float:
    """Return the threshold that separates grey levels into two classes best."""
    levels = np.rint(difference)
    levels = np.clip(levels, 0, 255, out=levels).astype(np.uint8)
    counts = np.array(Image.fromarray(np.atleast_2d(levels)).histogram(), np.float64)
    below = np.cumsum(counts)
    mass = np.cumsum(counts * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mass[-1] * below / below[-1] - mass) ** 2 / (below * above)
    between[(below == 0) | (above == 0)] = 0
    return float(between.argmax()) + 0.5


@dataclass(frozen=True)
class _Components:
    """The connected components of a mask.

    labels: the number of each pixel's component, `(H, W)`, and 0 outside. kept: whether the
    component of a number counts.
    """

    labels: NDArray[np.int32]
    kept: Mask

    @staticmethod
    def of(mask: Mask) -> "_Components":
        """Find the components of a mask."""
        labels, count = ndimage.label(mask, _EIGHT)
        return _Components(labels, np.arange(count + 1) > 0)

    @property
    def mask(self) -> Mask:
        mask: Mask = self.kept[self.labels]
        return mask

    def boxes(self) -> Iterator[tuple[int, tuple[slice, slice]]]:
        """Return the number and the box of each component that counts."""
        for number, box in enumerate(ndimage.find_objects(self.labels), start=1):
            if self.kept[number]:
                yield number, box


def _with_strong_parts(faint: Mask, strong: Mask) -> _Components:
    """Return the components of `faint` that are strong somewhere."""
    found = _Components.of(faint)
    kept = np.zeros_like(found.kept)
    kept[found.labels[strong]] = True
    return _Components(found.labels, kept)


def _lines(mask: Mask) -> Mask:
    """Return the thin horizontal lines from edge to edge, except where strokes cross them.

    They may be tilted by two degrees, and interrupted.
    """
    width = mask.shape[1]
    thickness, least = int(max(3, 0.025 * max(mask.shape))), max(8, width // 12)
    near = max(3, width // 32)
    if not mask[:, :near].any() or not mask[:, -near:].any():
        return np.zeros_like(mask)
    thin = mask & ~_long_runs(mask, thickness + 1)
    pieces = _long_runs(thin.T, least).T
    if pieces.any(axis=0).mean() < 0.5:
        return np.zeros_like(mask)
    band = pieces.copy()
    for distance in (1, 2):
        band[distance:] |= pieces[:-distance]
        band[:-distance] |= pieces[distance:]
    gaps = ~band & ~_long_runs(~band.T, -(-width // 2)).T
    gaps[:, [0, -1]] = ~band[:, [0, -1]]
    labels, _ = ndimage.label(band | gaps, _EIGHT)
    lines = np.zeros_like(mask)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        line = labels[box] == number
        drawn = line & thin[box]
        if (
            line.shape[1] == width
            and drawn[:, :near].any()
            and drawn[:, -near:].any()
            and (line & pieces[box]).any(axis=0).mean() >= 0.5
        ):
            lines[box] |= drawn
    return lines


def _long_runs(mask: Mask, length: int) -> Mask:
    """Return the pixels whose vertical run has at least a length.

    This is the opening of the mask by a line; the number of steps is logarithmic in its length.
    """
    steps: list[int] = []
    while (reached := 1 + sum(steps)) < length:
        steps.append(min(reached, length - reached))
    whole = mask  # whether the run that starts at a pixel is long enough
    for step in steps:
        whole = whole[:-step] & whole[step:]
    result = np.zeros_like(mask)
    result[: len(whole)] = whole
    for step in steps:
        result[step:] |= result[:-step]
    return result


def _without_frames(found: _Components) -> _Components:
    """Take out lines along all four sides of the box of a component; a digit may touch them."""
    frames = np.zeros(found.labels.shape, bool)
    for number, box in found.boxes():
        height, width = (side.stop - side.start for side in box)
        if min(height, width) < 0.3 * max(frames.shape):
            continue
        part = found.labels[box] == number
        near = max(3, round(0.03 * max(part.shape)))
        inner = (slice(near, -near), slice(near, -near))
        sides = (
            part[:near].any(0),
            part[-near:].any(0),
            part[:, :near].any(1),
            part[:, -near:].any(1),
        )
        if all(side.mean() > 0.85 for side in sides):
            part[inner] = False
            frames[box] |= part
    return _Components.of(found.mask & ~frames) if frames.any() else found


@dataclass
class _Part:
    """A component or several: its box, its ink, and its numbers among the components."""

    top: int
    bottom: int
    left: int
    right: int
    ink: float
    numbers: list[int]

    @property
    def size(self) -> int:
        return max(self.bottom - self.top, self.right - self.left)

    def joined(self, other: "_Part") -> "_Part":
        return _Part(
            min(self.top, other.top),
            max(self.bottom, other.bottom),
            min(self.left, other.left),
            max(self.right, other.right),
            self.ink + other.ink,
            self.numbers + other.numbers,
        )

    def gap(self, other: "_Part") -> int:
        """Return the distance of two boxes along the axis where it is larger, or 0."""
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        across = max(self.left, other.left) - min(self.right, other.right)
        return max(0, down, across)

    def is_stacked(self, other: "_Part") -> bool:
        """Whether one lies above or inside the other, or nearly touches it from above."""
        overlap = min(self.right, other.right) - max(self.left, other.left)
        narrower = min(self.right - self.left, other.right - other.left)
        down = max(self.top, other.top) - min(self.bottom, other.bottom)
        lower = min(self.bottom - self.top, other.bottom - other.top)
        size = max(self.size, other.size)
        if overlap >= 0.5 * narrower:
            return down <= 0.3 * size
        return overlap >= 0.15 * narrower and -0.3 * lower <= down <= 0.12 * size


def _symbols(found: _Components, ink: Grey) -> list[Mask]:
    """Return the masks of the symbols, in reading order."""
    boxes = list(found.boxes())
    if not boxes:
        return []
    masses = np.bincount(found.labels.reshape(-1), weights=ink.reshape(-1))
    parts = [
        _Part(rows.start, rows.stop, columns.start, columns.stop, float(masses[number]), [number])
        for number, (rows, columns) in boxes
    ]
    height, width = ink.shape
    inside = [
        part
        for part in parts
        if part.top > 0 and part.left > 0 and part.bottom < height and part.right < width
    ]
    smallest = max(4, 0.04 * max(height, width))
    largest = max((part.size for part in inside), default=0)
    if largest >= smallest:  # otherwise the digit itself touches the border
        parts = inside
    main = max(parts, key=lambda part: part.ink)
    if main.size < smallest:
        return []
    large = [
        part for part in parts if part.size >= 0.35 * main.size and part.ink >= 0.08 * main.ink
    ]
    symbols = _stacked([main, *(part for part in large if part is not main)])
    for part in parts:
        if any(part.numbers[0] in symbol.numbers for symbol in symbols):
            continue
        nearest = min(range(len(symbols)), key=lambda number: symbols[number].gap(part))
        symbol = symbols[nearest]
        if symbol.gap(part) <= 0.2 * symbol.size and part.ink >= 0.02 * symbol.ink:
            symbols[nearest] = symbol.joined(part)
    return [
        np.isin(np.arange(len(found.kept)), symbol.numbers)[found.labels]
        for symbol in _in_reading_order(symbols)
    ]


def _stacked(parts: list[_Part]) -> list[_Part]:
    """Join parts that lie above each other until none does."""
    for number, part in enumerate(parts):
        for other in parts[:number]:
            if part.is_stacked(other):
                rest = [each for each in parts if each is not part and each is not other]
                return _stacked([*rest, part.joined(other)])
    return parts


def _in_reading_order(parts: list[_Part]) -> list[_Part]:
    """Sort by rows, and from left to right within a row."""
    rows: list[list[_Part]] = []
    for part in sorted(parts, key=lambda part: part.top + part.bottom):
        middle = (part.top + part.bottom) / 2
        if rows and middle < max(each.bottom for each in rows[-1]):
            rows[-1].append(part)
        else:
            rows.append([part])
    return [part for row in rows for part in sorted(row, key=lambda part: part.left)]
