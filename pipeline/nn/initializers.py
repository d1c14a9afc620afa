"""First weights, drawn on the CPU so that every device starts from the same numbers."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Initializer = Callable[[np.random.Generator, int, int], NDArray[np.float64]]


def he(rng: np.random.Generator, n_in: int, n_out: int) -> NDArray[np.float64]:
    """Draw from a normal of variance 2 / n_in, which keeps activations' scale through ReLU.

    Source: He et al. 2015, https://arxiv.org/abs/1502.01852, equation 10.
    """
    return rng.normal(0.0, np.sqrt(2 / n_in), (n_in, n_out))


def glorot(rng: np.random.Generator, n_in: int, n_out: int) -> NDArray[np.float64]:
    """Draw from a uniform of variance 2 / (n_in + n_out), meant for sigmoid and tanh.

    Source: Glorot and Bengio 2010, https://proceedings.mlr.press/v9/glorot10a.html, equation 16.
    """
    limit = np.sqrt(6 / (n_in + n_out))
    return rng.uniform(-limit, limit, (n_in, n_out))


def normal(rng: np.random.Generator, n_in: int, n_out: int) -> NDArray[np.float64]:
    """Draw from a normal of standard deviation 0.01, whatever the size of the layer."""
    return rng.normal(0.0, 0.01, (n_in, n_out))


INITIALIZERS: dict[str, Initializer] = {"he": he, "glorot": glorot, "normal": normal}
