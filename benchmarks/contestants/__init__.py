"""The contestants. Each module has a function `make(job)` that returns `benchmarks.job.Epochs`.

Only `ours` may import `pipeline`; the others run as they do without it.
"""

CONTESTANTS = {
    "ours": "ours",
    "pytorch-eager": "pytorch",
    "pytorch-compiled": "pytorch_compiled",
    "pytorch-sparse": "pytorch_sparse",
    "scikit-learn": "sklearn_mlp",
    "numpy-loop": "numpy_loop",
    "numpy-scipy-sparse": "sparse_loop",
}
"""Modules by the name of the contestant, in the order of rounds and tables."""
