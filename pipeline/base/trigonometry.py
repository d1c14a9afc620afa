"""Sine and cosine with the same bits on every machine, which C libraries do not promise.

They are Taylor polynomials of sums and products. From -pi to pi the error is below 1e-13.
"""

import math
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", float, NDArray[np.float64])

_TERMS = 15


def sine(x: Number) -> Number:
    """Return the sine of x, in radians, from -pi to pi."""
    return x * _series(x, 1)


def cosine(x: Number) -> Number:
    """Return the cosine of x, in radians, from -pi to pi."""
    return _series(x, 0)


def _series(x: Number, first: int) -> Number:
    """Return 1 - x^2 / (first + 2)! + x^4 / (first + 4)! - ..., with Horner's rule."""
    y = 0.0 * x
    for term in range(_TERMS, -1, -1):
        y = y * (x * x) + (-1) ** term / math.factorial(2 * term + first)
    return y
