"""Count the floating-point operations of the matrix products in an epoch.

The product of (batch, n_in) and (n_in, n_out) takes 2 * batch * n_in * n_out operations. A training
image needs a forward pass, a weight gradient of the same size, and an input gradient in every layer
but the first. A validation image needs only a forward pass.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from benchmarks.job import Floats


def epoch_flops(sizes: Sequence[int], images: int, validation_images: int) -> int:
    """Return the operations of an epoch. sizes: neurons per layer, from input to output."""
    products = [n_in * n_out for n_in, n_out in itertools.pairwise(sizes)]
    forward = sum(products)
    backward = forward + sum(products[1:])
    return 2 * (images * (forward + backward) + validation_images * forward)


def floor_flops(sizes: Sequence[int], inputs: Floats, validation_inputs: Floats) -> int:
    """Return the operations of an epoch without those of zero pixels in the first layer.

    The floor is the time that these operations would take at the speed of dense products.
    """
    pixels, validation_pixels = (int(np.count_nonzero(of)) for of in (inputs, validation_inputs))
    later = sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes[1:]))
    return 2 * (
        sizes[1] * (2 * pixels + validation_pixels)
        + later * (3 * len(inputs) + len(validation_inputs))
    )
