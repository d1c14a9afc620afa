"""Training on CPUs, compiled by Numba: the same bits on all CPUs and any number of threads.

Read `docs/arithmetic.md` first, then `records` (the data structures), `functions`, `kernels` (the
innermost loops, written with `vectors`), `step` (one piece of work) and `epoch` (all pieces in
order, which `team` distributes among threads). These modules need Numba. The modules that call them
do not: `code` (compiles them once), `threads`, `engine`.
"""
