"""Fully connected networks from scratch, and everything around them that is not a command line.

Reading order: `params`, `errors`, `files`, then `datasets/` (from raw files to normalised splits),
`nn/` (the networks), `evaluation`, `figures/`.
"""
