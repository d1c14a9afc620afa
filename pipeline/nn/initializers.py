"""Initial weights, computed with arithmetic that gives the same bits on every machine.

`Generator.normal` calls exp and log1p of the C library, and `Generator.uniform` and `normal` may be
compiled to fused multiply-adds on ARM, so their last bits may differ between machines.
`Generator.random` returns integers divided by 2^53, and NumPy's sums, products, quotients and
square roots follow IEEE 754.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Initializer = Callable[[np.random.Generator, int, int], Values]


def he(rng: np.random.Generator, n_in: int, n_out: int) -> Values:
    """Draw from a normal distribution of variance 2 / n_in, which preserves the scale through ReLU.

    Source: He et al. 2015, https://arxiv.org/abs/1502.01852, equation 10.
    """
    deviation: float = np.sqrt(2 / n_in)
    return deviation * standard_normal(rng, n_in * n_out).reshape(n_in, n_out)


def glorot(rng: np.random.Generator, n_in: int, n_out: int) -> Values:
    """Draw from a uniform distribution of variance 2 / (n_in + n_out), for sigmoid and tanh.

    Source: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, equation 16.
    """
    limit: float = np.sqrt(6 / (n_in + n_out))
    return limit * (2 * rng.random((n_in, n_out)) - 1)


def normal(rng: np.random.Generator, n_in: int, n_out: int) -> Values:
    """Draw from a normal distribution of standard deviation 0.01, whatever the layer's size."""
    return 0.01 * standard_normal(rng, n_in * n_out).reshape(n_in, n_out)


def standard_normal(rng: np.random.Generator, count: int) -> Values:
    """Draw standard normal numbers by the polar method.

    Source: Marsaglia and Bray 1964, https://doi.org/10.1137/1006063. Of the points drawn in a
    square, the method uses those inside the unit circle, 78.5 %.
    """
    drawn: list[Values] = []
    while sum(map(len, drawn)) < count:
        x, y = 2 * rng.random((2, count // 2 + 8)) - 1
        s = x * x + y * y
        inside = (s > 0) & (s < 1)
        scale = np.sqrt(-2 * _log(s[inside]) / s[inside])
        drawn.append(np.stack([x[inside] * scale, y[inside] * scale], axis=1).ravel())
    return np.concatenate(drawn)[:count]


def _log(x: Values) -> Values:
    """Return natural logarithms, computed as log x = exponent log 2 + log m, m from 0.7 to 1.4.

    log m = 2 artanh t for t = (m - 1) / (m + 1), and artanh t = t + t^3 / 3 + t^5 / 5 + ...
    """
    m, exponent = np.frexp(x)
    low = m < np.sqrt(0.5)
    m, exponent = np.where(low, 2 * m, m), exponent - low
    t = (m - 1) / (m + 1)
    series = np.zeros_like(t)
    for power in range(23, 0, -2):
        series = series * (t * t) + 1 / power
    logarithms: Values = exponent * 0.6931471805599453 + 2 * t * series
    return logarithms


INITIALIZERS: dict[str, Initializer] = {"he": he, "glorot": glorot, "normal": normal}
