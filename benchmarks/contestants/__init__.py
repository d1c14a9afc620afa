"""Who trains against whom. Each module has `make(job)`, which returns `Epochs` of benchmarks.job.

Only `ours` may import `pipeline`: rivals run as they do without it.
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
"""Modules here by contestants' names, in the order of rounds and tables."""
