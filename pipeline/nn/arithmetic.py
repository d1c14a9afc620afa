"""The arithmetic that every device follows: the order of sums, and exp, log, tanh and sigmoid.

`docs/arithmetic.md` describes it. The functions are float32, from fused multiply-adds: no C library
is involved. They are written for any number that has the operations of `Float`. `nn/compiled` emits
machine code from them, and `nn/gpu` CUDA C++, so both compute the same bits.

Each function is within 2 units in the last place of the exact value, the sigmoid within 2.5. The
polynomials are from Cephes (Moshier 1989, https://www.netlib.org/cephes/: expf, logf, tanhf).
"""

from typing import Any

import numpy as np

from pipeline.datasets.images import PIXELS

GROUP = 4
"""Pixels per patch."""
ORDER = np.arange(PIXELS).reshape(14, 2, 14, 2).transpose(0, 2, 1, 3).ravel()
"""Pixels in summation order: patches of 2 x 2, row by row. Most patches of a digit are empty."""
BLOCK = 112
"""Inputs per chain of a product: 784 = 7 x 112. Blocks are added in order."""
TILE = 128
"""Images per chain of a weight's gradient. Tiles are added in order."""
LANES = 16
"""Sums per layer that a norm's squares are added to, in turn."""
EPSILON = 1e-8
"""Adam's, as recommended by its authors."""

Float = Any
"""A float32 whose operations each round once: + - * /, with constants on either side;
x.fma(factor, addend); x.absolute(); x.of(constant); x.where("<" or ">", other, yes, no), which is
`no` for NaN; and x.bits(), an integer with + - << and an arithmetic >>, whose `as_float` returns
the number with these bits, and whose `to_float` the nearest number."""

_SHIFT = 1.5 * 2**23  # x + _SHIFT has no fraction bits left: it rounds x to an integer
_LN2_HIGH, _LN2_LOW = 0.693359375, -2.12194440e-4
_EXP = (
    1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
    5.0000001201e-1,
)  # fmt: skip
_LOG = (
    7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
    -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
)  # fmt: skip
_TANH = (
    -5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1,
)  # fmt: skip
_ROOT_HALF = 0x3F3504F3  # the bits of sqrt(1/2)


def _polynomial(x: Float, coefficients: tuple[float, ...]) -> Float:
    """Evaluate a polynomial by Horner's rule, highest power's coefficient first."""
    y = x.of(coefficients[0])
    for coefficient in coefficients[1:]:
        y = y.fma(x, coefficient)
    return y


def exp(x: Float) -> Float:
    """Return e^x. It is 0 or infinity beyond the range of float32."""
    x = x.where("<", -104.0, -104.0, x)
    x = x.where(">", 89.0, 89.0, x)
    n = x.fma(1.44269504088896341, _SHIFT) - _SHIFT
    r = n.fma(-_LN2_LOW, n.fma(-_LN2_HIGH, x))
    p = _polynomial(r, _EXP).fma(r * r, r) + 1.0
    half = n.fma(0.5, _SHIFT)  # 2^n as two factors, because n can be -150 or 128
    rest = n - (half - _SHIFT) + _SHIFT
    return p * _power_of_two(half) * _power_of_two(rest)


def _power_of_two(shifted: Float) -> Float:
    """Return 2^n for integers n, given n + _SHIFT, whose lowest bits are those of n."""
    return ((shifted.bits() + 127) << 23).as_float()


def log(x: Float) -> Float:
    """Return the natural logarithm of normal numbers > 0; infinity and NaN are returned as is."""
    exponent = (x.bits() - _ROOT_HALF) >> 23
    n = exponent.to_float()
    f = (x.bits() - (exponent << 23)).as_float() - 1.0
    z = f * f  # f + 1 is between sqrt(1/2) and sqrt(2)
    y = n.fma(_LN2_LOW, f * z * _polynomial(f, _LOG))
    y = n.fma(_LN2_HIGH, f + z.fma(-0.5, y))
    return x.where("<", float("inf"), y, x)


def tanh(x: Float) -> Float:
    """Return the hyperbolic tangent."""
    z, size = x * x, x.absolute()
    near = (_polynomial(z, _TANH) * z).fma(x, x)
    far = 1.0 - 2.0 / (exp(size + size) + 1.0)
    return size.where("<", 0.625, near, x.where("<", 0.0, 0.0 - far, far))


def sigmoid(x: Float) -> Float:
    """Return 1 / (1 + e^-x) without overflow."""
    e = exp(0.0 - x.absolute())
    return x.where("<", 0.0, e, 1.0) / (1.0 + e)
