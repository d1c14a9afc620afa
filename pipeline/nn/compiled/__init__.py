"""Training on processors, compiled by Numba: the same bits on all, on any number of threads.

Reading order: `docs/arithmetic.md`, then `records` (what is computed on), `functions`, `kernels`
(the innermost loops; `vectors` is what they are written in), `step` (a piece of work), `epoch` (the
pieces in order; `team` shares them among threads). These need Numba. What uses them does not:
`code` (compiles them once), `threads`, `engine`.
"""
