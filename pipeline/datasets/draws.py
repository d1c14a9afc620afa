"""Random numbers that are functions of their place: of a key and of counters.

A draw for an image in an epoch therefore depends neither on the order of the images, nor on the
thread, nor on whether training was interrupted.

Source: SplitMix64, Steele, Lea and Flood 2014, https://doi.org/10.1145/2714064.2660195.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Bits = NDArray[np.uint64]

_GOLDEN = np.array([0x9E3779B97F4A7C15], np.uint64)  # 2^64 divided by the golden ratio


def key_of(rng: np.random.Generator) -> Bits:
    """Return a key (1,) that depends on the seed of a generator, and not on its state."""
    sequence: Any = rng.bit_generator.seed_seq
    key: Bits = sequence.generate_state(1, np.uint64)
    return key


def bits(key: Bits, *counters: NDArray[Any] | int) -> Bits:
    """Return 64 random bits for each element of the broadcast counters.

    key: (1,). The counters are whole numbers from 0 to 2^63 - 1.
    """
    found = _mixed(key)
    for counter in counters:
        found = _mixed(found + np.asarray(counter, np.int64).astype(np.uint64) * _GOLDEN)
    return found


def _mixed(z: Bits) -> Bits:
    """Return a permutation of 64-bit numbers in which each input bit affects all output bits."""
    z = z + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(drawn: Bits) -> NDArray[np.float64]:
    """Return numbers uniform in [-1, 1), multiples of 2^-52."""
    return (drawn >> np.uint64(11)).astype(np.float64) * 2.0**-52 - 1
