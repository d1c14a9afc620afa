"""Central differences in float64, to check every backward pass."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def central_difference(
    function: Callable[[], float], x: NDArray[np.float64], step: float = 1e-6
) -> NDArray[np.float64]:
    """Return the gradient of `function()` in `x`, which is changed in place and restored."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + step
        above = function()
        x[index] = value - step
        below = function()
        x[index] = value
        gradient[index] = (above - below) / (2 * step)
    return gradient
