"""Train one variant with one contestant, and measure it on request.

    python -m benchmarks.worker CONTESTANT JOB_FOLDER

Answers are lines of JSON. The first one describes the contestant and its first epochs, or gives the
reason why it cannot train the variant. Then each request on standard input is answered with one
measurement, so that contestants can take turns. This module imports neither NumPy nor `pipeline`;
each contestant imports what it needs.
"""

import importlib
import json
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contestants import CONTESTANTS, ON_GPU

if TYPE_CHECKING:
    from benchmarks.job import Epochs

FIRST_EPOCHS = 2
"""Number of epochs whose costs are compared."""
PACKAGES = {
    "numpy": ("numpy", "NumPy"),
    "pipeline.nn.compiled": ("numba", "Numba"),  # compiled it, perhaps in an earlier process
    "cupy": ("cupy", "CuPy"),
    "scipy": ("scipy", "SciPy"),
    "torch": ("torch", "PyTorch"),
    "sklearn": ("scikit-learn", "scikit-learn"),
}
"""Distribution and title of a package, by a module that is loaded if the package is used."""


def main() -> None:
    """Prepare the contestant, then answer requests until there are no more."""
    name, folder = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of libraries goes to standard error

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    contestant = importlib.import_module(f"benchmarks.contestants.{(CONTESTANTS | ON_GPU)[name]}")
    from benchmarks.job import UnableError, read_job  # after the contestant: it imports NumPy

    job = read_job(Path(folder))
    everything = len(job.validation_labels)
    start = time.perf_counter()
    try:
        epochs = contestant.make(job)
        running = epochs(everything)
        first = [next(running) for _ in range(FIRST_EPOCHS)]
        next(epochs(1))
    except UnableError as reason:
        answer({"cannot": str(reason)})
        return
    warm_up = time.perf_counter() - start
    answer({"first": first, "warm_up_seconds": warm_up, "libraries": libraries()})
    for line in sys.stdin:
        request = json.loads(line)
        scored = everything if request["validation"] else 1
        answer(measure(epochs, scored, request["seconds"]))


def measure(epochs: "Epochs", scored: int, seconds: float) -> dict[str, Any]:
    """Train from the start: one epoch to warm up, then whole epochs for at least `seconds`."""
    running = epochs(scored)
    next(running)
    count, elapsed = 0, 0.0
    start = time.perf_counter()
    while elapsed < seconds:
        next(running)
        count += 1
        elapsed = time.perf_counter() - start
    return {"epochs": count, "seconds": elapsed / count}


def libraries() -> list[str]:
    """Return the versions of packages, and the numbers of threads of BLAS and OpenMP.

    The latter are included only if threadpoolctl is installed.
    """
    found = [f"Python {sys.version.split()[0]}"]
    for module, (distribution, title) in PACKAGES.items():
        if module in sys.modules:
            found.append(f"{title} {version(distribution)}")
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return found
    for pool in threadpool_info():
        words = (pool["internal_api"], pool["version"], pool.get("architecture"))
        name = " ".join(word for word in words if word)
        # The prefix of its file distinguishes the OpenBLAS of NumPy from that of SciPy.
        found.append(f"{name} ({pool['prefix']}), threads: {pool['num_threads']}")
    return found


if __name__ == "__main__":
    main()
