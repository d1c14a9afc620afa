"""The fastest single-precision matrix product that NumPy does here, in GFLOP/s.

    python -m benchmarks.peak

BLAS takes its own kernels, and as many threads as it likes or as the environment allows. Prints the
speed by size as JSON.
"""

import json
import time

import numpy as np

SIZES = (1024, 1536, 2048)
SECONDS = 0.3
"""Time for each measurement, at least."""


def main() -> None:
    """Measure all sizes."""
    print(json.dumps({size: speed(size) for size in SIZES}))


def speed(size: int) -> float:
    """Return GFLOP/s of a product of two square matrices."""
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
