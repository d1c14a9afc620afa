"""What pinning the processor's kernels costs: one sgemm and one epoch, pinned and free.

    python -m benchmarks.kernels

Each measurement runs in a process of its own, because kernels are chosen when NumPy loads;
pinned and free alternate.
"""

import os
import statistics
import subprocess
import sys

from pipeline.processor import KERNELS

MEASURE = """
import sys, time
if sys.argv[1] == "pinned":
    import pipeline
import numpy as np
rng = np.random.default_rng(0)
def seconds(work, count):
    work()
    start = time.perf_counter()
    for _ in range(count):
        work()
    return (time.perf_counter() - start) / count
a, b = rng.random((1024, 1024), np.float32), rng.random((1024, 1024), np.float32)
x, w = rng.random((512, 784), np.float32), rng.random((784, 128), np.float32)
e = rng.random((512, 128), np.float32)
print(2 * 1024**3 / seconds(lambda: a @ b, 20) / 1e9)
print(2 * 512 * 784 * 128 / seconds(lambda: x @ w, 200) / 1e9)
print(e.size / seconds(lambda: np.exp(e), 500) / 1e6)
"""
NAMES = ("sgemm 1024, GFLOP/s", "sgemm 512x784x128, GFLOP/s", "exp float32, million/s")


def measure(kind: str) -> list[float]:
    """Run one measurement on one thread."""
    environment = {key: value for key, value in os.environ.items() if key not in KERNELS}
    environment["OPENBLAS_NUM_THREADS"] = "1"
    output = subprocess.run(
        [sys.executable, "-c", MEASURE, kind],
        env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return [float(line) for line in output.split()]


def main(repeats: int = 7) -> None:
    """Print medians of alternating runs."""
    runs: dict[str, list[list[float]]] = {"pinned": [], "free": []}
    for _ in range(repeats):
        for kind, values in runs.items():
            values.append(measure(kind))
    for column, name in enumerate(NAMES):
        pinned, free = (
            statistics.median(run[column] for run in runs[kind]) for kind in ("pinned", "free")
        )
        print(f"{name:28} pinned {pinned:7.1f}  free {free:7.1f}  ratio {pinned / free:.2f}")


if __name__ == "__main__":
    main()
