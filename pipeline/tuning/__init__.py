"""Many trainings of one variant: sweeps over its settings, and repeats with other seeds.

Optuna chooses the trials, Dask runs them. Reading order: `space` (from params.yaml to settings),
`study` (Optuna in memory), `trial` (one training), `plan` (which ones), `store` (the finished ones,
on disk), `fingerprint`, `worker` and `cluster` (where they run), `run` (the loop), `results`,
`repeats`. The packages are an extra, see `packages`.
"""
