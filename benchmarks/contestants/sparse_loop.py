"""The NumPy loop with SciPy's sparse matrices in the first layer, which leave out zero pixels.

It computes in float32, so that products read half as much memory. Images are stored as compressed
rows (CSR). The weight gradient multiplies by the transpose of a batch, which is the same memory as
compressed columns (CSC). SciPy uses one thread; BLAS chooses its number of threads.
"""

import numpy as np
from scipy.sparse import csr_array

from benchmarks.contestants import numpy_loop
from benchmarks.job import Epochs, Job


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    return numpy_loop.prepare(job, np.float32, csr_array)
