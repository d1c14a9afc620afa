"""The contestants. Each module has a function `make(job)` that returns `benchmarks.job.Epochs`.

Only `ours` and `ours_gpu` may import `pipeline`; the others run as they do without it.
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
ON_GPU = {
    "ours-gpu": "ours_gpu",
    "pytorch-gpu-eager": "pytorch_gpu",
    "pytorch-gpu-graph": "pytorch_graph",
}
"""The contestants of `benchmarks.gpu`."""
