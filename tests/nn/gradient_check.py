"""Central differences in float64, which every backward pass is held against."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def central_difference(
    function: Callable[[], float], x: NDArray[np.float64], step: float = 1e-6
) -> NDArray[np.float64]:
    """Give the gradient of `function()` in `x`, which is changed in place and put back."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + step
        above = function()
        x[index] = kept - step
        below = function()
        x[index] = kept
        gradient[index] = (above - below) / (2 * step)
    return gradient
