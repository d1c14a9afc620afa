"""Measure the peak speed of single-precision matrix products in NumPy, in GFLOP/s.

    python -m benchmarks.peak

BLAS chooses its kernels and, unless the environment limits it, its number of threads. The speed is
printed by size as JSON.
"""

import json
import time

import numpy as np

SIZES = (1024, 1536, 2048)
SECONDS = 0.3
"""Minimum time per measurement."""


def main() -> None:
    """Measure all sizes and print the results."""
    print(json.dumps({size: speed(size) for size in SIZES}))


def speed(size: int) -> float:
    """Return the speed of a product of two square matrices, in GFLOP/s."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size), np.float32) for _ in range(2))
    c = np.empty_like(a)
    np.matmul(a, b, out=c)
    count, elapsed = 0, 0.0
    start = time.perf_counter()
    while elapsed < SECONDS:
        np.matmul(a, b, out=c)
        count += 1
        elapsed = time.perf_counter() - start
    return 2 * size**3 * count / elapsed / 1e9


if __name__ == "__main__":
    main()
