"""Dropout: in each training step, outputs of hidden layers are left out at random.

The others are divided by the probability of staying, so that their expected sum is the same and
nothing changes when the network is used. What is left out is a function of the run's key, the
epoch, the image, the layer and the neuron.

Sources: Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html; the 32-bit mixing
function with two rounds is by Chris Wellons, https://nullprogram.com/blog/2018/07/31/.
"""

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.draws import Bits, bits
from pipeline.nn.layers import Array

GOLDEN = 0x9E3779B9
MIX = ((16, 0x7FEB352D), (15, 0x846CA68B))
"""Shift and multiplier of each round."""
LAST = 16


def keys(key: Bits, epoch: int, images: NDArray[np.int64], layers: int) -> NDArray[np.uint32]:
    """Return two words for each image number (n,) and hidden layer: (n, layers, 2)."""
    drawn = bits(key, 3, epoch, images[:, np.newaxis], np.arange(layers))
    words = (drawn & np.uint64(2**32 - 1), drawn >> np.uint64(32))
    return np.stack(words, axis=2).astype(np.uint32)


def limit(rate: float) -> int:
    """Return the number of 32-bit words, of 2^32, that leave an output out."""
    return round(rate * 2**32)


def factors(words: NDArray[np.uint32], neurons: int, rate: float) -> Array:
    """Return what each output is multiplied by, for words (n, 2): (n, neurons) float32."""
    first, second = words[:, :1], words[:, 1:]
    h = (np.arange(neurons, dtype=np.uint32) * np.uint32(GOLDEN)) ^ first
    for shift, multiplier in MIX:
        h = (h ^ (h >> np.uint32(shift))) * np.uint32(multiplier) + second
    h = h ^ (h >> np.uint32(LAST))
    return np.where(h < limit(rate), np.float32(0), np.float32(1 / (1 - rate)))
