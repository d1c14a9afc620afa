"""Who trains against whom. Each module offers `make(job)`, which gives `Epochs` of benchmarks.job.

Only `ours` may import `pipeline`: that pins kernels and threads, and rivals run as they come.
"""

from typing import NamedTuple


class Entry(NamedTuple):
    """A contestant: its module here, and what its environment must say."""

    module: str
    environment: dict[str, str]


CONTESTANTS = {
    "ours": Entry("ours", {}),
    "ours-native": Entry("ours", {"DIGITS_KERNELS": "native"}),
    "pytorch-eager": Entry("pytorch", {}),
    "pytorch-compiled": Entry("pytorch_compiled", {}),
    "scikit-learn": Entry("sklearn_mlp", {}),
    "numpy-loop": Entry("numpy_loop", {}),
}
"""By name, in the order of rounds and tables."""
