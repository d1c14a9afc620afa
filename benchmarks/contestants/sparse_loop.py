"""The NumPy loop with SciPy's sparse matrices, which spare the first layer every pixel that is 0.

In float32, because that halves what its products read. Images lie in compressed rows (CSR); the
weight gradient multiplies by the transpose of a batch, which is the same memory as columns (CSC).
SciPy multiplies on one thread, BLAS on as many as it likes.
"""

import numpy as np
from scipy.sparse import csr_array

from benchmarks.contestants import numpy_loop
from benchmarks.job import Epochs, Job


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    return numpy_loop.prepare(job, np.float32, csr_array)
