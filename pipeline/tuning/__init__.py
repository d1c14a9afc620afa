"""Train one variant many times: sweeps over its settings, and repeats with other seeds or images.

Optuna chooses the trials, and Dask runs them. Reading order: `space` (from params.yaml to
settings), `study` (Optuna in memory), `folds` (of the images), `trial` (one training run), `plan`
(the trials to run), `store` (finished trials on disk), `fingerprint`, `worker` and `cluster` (where
trials run), `run` (the loop), `results`, `repeats`. They need the packages of the extra `sweep`,
see `packages`.
"""
