"""Calling compiled code on several threads, and what these share: see `team` for their side."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.nn.compiled.code import Function

LINE = 64
"""Bytes of a cache line: numbers that threads change lie in lines of their own."""
ARRIVED, ROUND, STOP, TAKEN = 0, LINE, 2 * LINE, 3 * LINE
"""Where they lie: threads at the barrier, its rounds, whether to stop, pieces taken per thread."""


class Team:
    """Threads of one engine: were they shared, two trainings could each wait for the other's."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size, "team")

    def run(self, function: Function, record: NDArray[Any]) -> None:
        """Call a compiled `function(team, thread, address of the record)` on every thread.

        The calling thread sleeps meanwhile and stays open to Ctrl-C, which ends the work early.
        """
        state = np.zeros((TAKEN // LINE + self.size + 1) * LINE // 8, np.int64)
        team = -(-state.ctypes.data // LINE) * LINE
        address = record.ctypes.data
        futures = [
            self._pool.submit(function, team, thread, address) for thread in range(self.size)
        ]
        try:
            for future in futures:
                future.result()
        except BaseException:
            state[(team + STOP - state.ctypes.data) // 8] = 1
            wait(futures)
            raise
