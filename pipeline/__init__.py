"""Fully connected networks from scratch, with their data, training, evaluation and figures.

Reading order: `params`, `errors`, `files`, then `raw/` (from sources to raw images), `datasets/`
(to normalised splits), `nn/` (the networks), `evaluation`, `figures/`.
"""

__version__ = "0.1.0"
