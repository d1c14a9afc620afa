"""One command for each stage of dvc.yaml, run as `python -m stages.NAME`."""

import pipeline  # noqa: F401  # before anything loads NumPy: it pins the processor's kernels
