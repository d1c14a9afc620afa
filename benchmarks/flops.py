"""Floating-point operations that training needs, whoever does them: those of its matrix products.

A layer's product of (batch, n_in) with (n_in, n_out) takes 2 * batch * n_in * n_out. An image that
is trained on passes forward, gives a weight gradient of the same size, and an input gradient in
every layer but the first; an image that is only scored passes forward.
"""

import itertools
from collections.abc import Sequence


def epoch_flops(sizes: Sequence[int], images: int, validation_images: int) -> int:
    """Count for an epoch. sizes: neurons in each layer, from input to output."""
    products = [n_in * n_out for n_in, n_out in itertools.pairwise(sizes)]
    forward = sum(products)
    backward = forward + sum(products[1:])
    return 2 * (images * (forward + backward) + validation_images * forward)
