"""The fastest single-precision matrix product that NumPy does here, in GFLOP/s.

    python -m benchmarks.peak pinned | free

pinned: this project's kernels; more cores by one product on each, a thread a core, as training uses
them. free: the kernels that BLAS chooses and its own threads. Prints JSON: for one core and for
all, the speed by size.
"""

import sys

if sys.argv[1:] == ["pinned"]:
    import pipeline  # noqa: F401  # before NumPy loads

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

SIZES = (1024, 1536, 2048)
SECONDS = 0.3
"""Time for each measurement, at least."""


def main(kind: str) -> None:
    """Measure all sizes on one core and on all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    speeds: dict[str, dict[int, float]] = {"one_core": {}, "all_cores": {}}
    for size in SIZES:
        flops = 2 * size**3
        with threadpool_limits(1):
            speeds["one_core"][size] = flops * rate(product(size)) / 1e9
        if kind == "pinned":
            with ThreadPoolExecutor(cores) as pool:
                works = [product(size) for _ in range(cores or 1)]
                rates = pool.map(rate, works)
                speeds["all_cores"][size] = flops * sum(rates) / 1e9
        else:
            speeds["all_cores"][size] = flops * rate(product(size)) / 1e9
    print(json.dumps(speeds))


def product(size: int) -> Callable[[], object]:
    """Prepare a product of two square matrices."""
    rng = np.random.default_rng(0)
    a, b = (rng.random((size, size), np.float32) for _ in range(2))
    c = np.empty_like(a)
    return lambda: np.matmul(a, b, out=c)


def rate(work: Callable[[], object]) -> float:
    """Count how often a second the work can be done."""
    work()
    count, elapsed = 0, 0.0
    start = time.perf_counter()
    while elapsed < SECONDS:
        work()
        count += 1
        elapsed = time.perf_counter() - start
    return count / elapsed


if __name__ == "__main__":
    main(sys.argv[1])
