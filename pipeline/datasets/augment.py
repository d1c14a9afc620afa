"""Distorted images to train on: rotated, scaled, sheared, shifted and bent, anew in each epoch.

Each pixel of a distorted image shows a place of the original: `matrix @ (pixel - centre) + centre +
shift + displacement`. Four pixels around the place are interpolated. The displacements of
neighbouring pixels are similar, as in handwriting by another hand.

`Distortions` draws the numbers for each image. `distort` is the definition in NumPy of what
`pipeline.nn.compiled` computes during training; both give the same bytes.

Source: Simard, Steinkraus and Platt 2003, https://doi.org/10.1109/ICDAR.2003.1227801.
"""

import math
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pipeline.base.params import Augment
from pipeline.base.trigonometry import cosine, sine
from pipeline.datasets.draws import Bits, bits, uniform
from pipeline.datasets.images import HEIGHT, WIDTH

FIELDS = 256
"""Smooth random fields that displacements are chosen from: one for x, one for y."""
TAPS = 64
"""A field is noise smoothed with binomial weights of this order, nearly a Gaussian of standard
deviation sqrt(TAPS) / 2 = 4 pixels, and with exact weights."""
CENTRE = (HEIGHT - 1) / 2
MARGIN = 2
"""Background around an image on each side; places further out are the same as its edge."""

DISTORTION = np.dtype(
    [
        *((name, np.float32) for name in ("xx", "xy", "yx", "yy")),  # the matrix
        *((name, np.float32) for name in ("x", "y")),  # centre + shift
        *((name, np.float32) for name in ("bend_x", "bend_y")),  # factors of the fields
        *((name, np.int64) for name in ("field_x", "field_y")),
    ]
)
"""How one image is distorted."""


class Distortions:
    """The distortions of a training run. key: (1,), from the seed of the run."""

    def __init__(self, strengths: Augment, key: Bits) -> None:
        self._strengths = strengths
        self._key = key

    def draw(self, epoch: int, images: NDArray[np.int64]) -> NDArray[np.void]:
        """Return a DISTORTION record for each image number (n,) in an epoch."""
        most = self._strengths
        drawn = bits(self._key, 1, epoch, images[:, np.newaxis], np.arange(8))
        angle, width, height, lean, right, down = uniform(drawn[:, :6]).T
        angle = angle * (most.rotate * math.pi / 180)
        width, height, lean = 1 + width * most.scale, 1 + height * most.scale, lean * most.shear
        cos, sin = cosine(angle), sine(angle)
        found = np.zeros(len(images), DISTORTION)
        found["xx"], found["xy"] = width * cos, height * (lean * cos - sin)
        found["yx"], found["yy"] = width * sin, height * (lean * sin + cos)
        found["x"], found["y"] = CENTRE + right * most.shift, CENTRE + down * most.shift
        for name, chosen in zip(("x", "y"), drawn[:, 6:].T, strict=True):
            negative = (chosen >> np.uint64(63)).astype(bool)
            found[f"bend_{name}"] = np.where(negative, -most.elastic, most.elastic)
            found[f"field_{name}"] = (chosen % np.uint64(FIELDS)).astype(np.int64)
        return found

    @cached_property
    def fields(self) -> NDArray[np.float32]:
        """Fields (FIELDS, 28, 28) of standard deviation 1, or of zeros if elastic is 0."""
        if not self._strengths.elastic:
            return np.zeros((FIELDS, HEIGHT, WIDTH), np.float32)
        weights = [math.comb(TAPS, tap) / 2**TAPS for tap in range(TAPS + 1)]
        noise = uniform(bits(self._key, 2, np.arange(FIELDS * (HEIGHT + TAPS) * (WIDTH + TAPS))))
        noise = noise.reshape(FIELDS, HEIGHT + TAPS, WIDTH + TAPS)
        rows = sum(weight * noise[:, tap : tap + HEIGHT] for tap, weight in enumerate(weights))
        smooth = sum(weight * rows[:, :, tap : tap + WIDTH] for tap, weight in enumerate(weights))
        power = math.comb(2 * TAPS, TAPS) / 4**TAPS  # the sum of the squares of the weights
        return np.asarray(smooth * (math.sqrt(3) / power), np.float32)


def distort(
    images: NDArray[np.uint8], drawn: NDArray[np.void], fields: NDArray[np.float32]
) -> NDArray[np.uint8]:
    """Return images (n, 28, 28) distorted by their records (n,).

    All arithmetic is in float32, without fused operations.
    """
    f32 = np.float32
    padded = np.pad(images, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    grid = np.arange(WIDTH, dtype=f32) - f32(CENTRE)
    x, y = grid[np.newaxis, np.newaxis, :], grid[np.newaxis, :, np.newaxis]
    of = {name: drawn[name][:, np.newaxis, np.newaxis] for name in DISTORTION.names or ()}
    places = []
    for axis in "xy":
        place = of[f"{axis}x"] * x + of[f"{axis}y"] * y
        place = place + of[f"bend_{axis}"] * fields[drawn[f"field_{axis}"]]
        place = place + of[axis] + f32(MARGIN)
        places.append(np.clip(place, f32(0), f32(WIDTH + MARGIN)))
    columns, rows = (place.astype(np.int64) for place in places)
    right, down = places[0] - columns.astype(f32), places[1] - rows.astype(f32)
    image = np.arange(len(images))[:, np.newaxis, np.newaxis]

    def across(rows: NDArray[np.int64]) -> NDArray[np.float32]:
        left, other = padded[image, rows, columns], padded[image, rows, columns + 1]
        blend: NDArray[np.float32] = left * (f32(1) - right) + other * right
        return blend

    blended = across(rows) * (f32(1) - down) + across(rows + 1) * down
    rounded: NDArray[np.uint8] = (blended + f32(0.5)).astype(np.uint8)
    return rounded
