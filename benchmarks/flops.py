"""Floating-point operations that training needs, whoever does them: those of its matrix products.

A layer's product of (batch, n_in) with (n_in, n_out) takes 2 * batch * n_in * n_out. An image that
is trained on passes forward, gives a weight gradient of the same size, and an input gradient in
every layer but the first; an image that is only scored passes forward.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from benchmarks.job import Floats


def epoch_flops(sizes: Sequence[int], images: int, validation_images: int) -> int:
    """Count for an epoch. sizes: neurons in each layer, from input to output."""
    products = [n_in * n_out for n_in, n_out in itertools.pairwise(sizes)]
    forward = sum(products)
    backward = forward + sum(products[1:])
    return 2 * (images * (forward + backward) + validation_images * forward)


def floor_flops(sizes: Sequence[int], inputs: Floats, validation_inputs: Floats) -> int:
    """Count for an epoch as `epoch_flops`, but in the first layer those of pixels that are not 0.

    The time that these take at the speed of dense products is the floor that results compare with.
    """
    pixels, validation_pixels = (int(np.count_nonzero(of)) for of in (inputs, validation_inputs))
    later = sum(n_in * n_out for n_in, n_out in itertools.pairwise(sizes[1:]))
    return 2 * (
        sizes[1] * (2 * pixels + validation_pixels)
        + later * (3 * len(inputs) + len(validation_inputs))
    )
