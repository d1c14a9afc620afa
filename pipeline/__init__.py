"""Fully connected networks from scratch, with their data, training, evaluation and figures.

Reading order: `params`, `errors`, `files`, then `raw/` (from sources to raw images), `datasets/`
(to normalised splits), `nn/` (the networks), `evaluation`, `figures/`.
"""

import os

try:
    import numpy  # noqa: F401
except ImportError as error:
    # NumPy refuses to load with features that the processor lacks or that contradict each other.
    chosen = [
        f"{name}={os.environ[name]}"
        for name in ("NPY_ENABLE_CPU_FEATURES", "NPY_DISABLE_CPU_FEATURES")
        if os.environ.get(name)
    ]
    if not chosen:
        raise
    reason = " ".join(str(error.__cause__ or error).split())
    raise SystemExit(f"Error: NumPy cannot be used with {' and '.join(chosen)}: {reason}") from None

__version__ = "0.1.0"
