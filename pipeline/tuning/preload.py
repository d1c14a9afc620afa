"""The environment that a worker's process is born into, for what NumPy and malloc read at birth.

    dask worker tcp://HOST:PORT --nthreads 1 --nworkers -1 --preload-nanny pipeline.tuning.preload

Importing `pipeline` pins the processor's kernels. And Dask tells malloc to give memory back at
every chance, which doubles the time of a training whose batches take and give back a few hundred
kilobytes at every step; these thresholds are those that malloc would have found by itself.
"""

import os

ALLOCATION = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**26)}

os.environ.update(ALLOCATION)
