"""Who trains against whom. Each module offers `make(job)`, which gives `Epochs` of benchmarks.job.

Only `ours` may import `pipeline`: that pins kernels and threads, and rivals run as they come.
"""

CONTESTANTS = {
    "ours": "ours",
    "pytorch-eager": "pytorch",
    "pytorch-compiled": "pytorch_compiled",
    "scikit-learn": "sklearn_mlp",
    "numpy-loop": "numpy_loop",
}
"""Names and modules, in the order of rounds and tables."""
