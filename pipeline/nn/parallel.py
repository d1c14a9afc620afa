"""Work on fixed tiles of rows in threads, with results that do not depend on the thread count.

Floating-point addition depends on its order. So a batch is always cut into the same tiles, each
is computed by one thread alone (BLAS itself runs single-threaded, see `pipeline.processor`), and
results come back in the order of the tiles, whichever thread was first.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from pipeline.nn.backend import Device, available_cores

TILE_ROWS = 512
"""Rows in a tile: activations of this many stay in a core's cache."""

Result = TypeVar("Result")


class Workers:
    """Threads that share a batch by tiles. A GPU takes a batch whole: it has its own threads."""

    def __init__(self, device: Device, threads: int | None = None) -> None:
        self._tile_rows = TILE_ROWS if device.is_cpu else None
        threads = threads or available_cores()
        self._pool = ThreadPoolExecutor(threads) if device.is_cpu and threads > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def map(self, function: Callable[[slice], Result], rows: int) -> Iterator[Result]:
        """Yield `function(tile)` for the tiles of `rows` rows, first tile first."""
        step = self._tile_rows or rows
        tiles = [slice(start, min(start + step, rows)) for start in range(0, rows, step)]
        if self._pool is None or len(tiles) == 1:
            return map(function, tiles)
        return self._pool.map(function, tiles)
