"""Run compiled code on several threads. `team` has the compiled side."""

from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.nn.compiled.code import Function

LINE = 64
"""Bytes per cache line: each shared counter has a line of its own."""
ARRIVED, ROUND, STOP, TAKEN = 0, LINE, 2 * LINE, 3 * LINE
"""Byte offsets: threads at the barrier, barrier rounds, stop flag, pieces taken per thread."""


class Team:
    """The threads of one engine. If engines shared them, two could wait for each other forever."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._pool = ThreadPoolExecutor(size, "team")

    def run(self, function: Function, record: NDArray[Any]) -> None:
        """Call a compiled `function(team, thread, address of the record)` on every thread.

        The calling thread waits. Ctrl-C interrupts the wait and stops the work early.
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
