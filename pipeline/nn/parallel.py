"""Share work among threads, with results that do not depend on how many there are.

Floating-point addition depends on its order. So work is always cut into the same pieces, each is
computed by one thread alone (BLAS itself runs single-threaded, see `pipeline.processor`), and what
they give is put together in the order of the pieces, whichever thread was first.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from threading import Lock, Thread
from types import TracebackType
from typing import Self, TypeVar

from pipeline.nn.backend import Device, available_cores

TILE_ROWS = 1024
"""Most rows in a tile: activations of this many stay in a core's cache."""

TILES_SHARE = 4
"""The number of tiles is a multiple of this, so that 2 or 4 threads have the same to do."""

Result = TypeVar("Result")


class Workers:
    """Threads that share pieces of work, the caller's own among them.

    A GPU takes its work whole: it has its own threads.
    """

    def __init__(self, device: Device, threads: int | None = None) -> None:
        self.on_cpu = device.is_cpu
        threads = (threads or available_cores()) if device.is_cpu else 1
        self._helpers = [_Helper() for _ in range(threads - 1)]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Ctrl-C may come between any two steps here and leave a helper waiting for this thread.
        # Helpers end with the process, which is about to end: none is waited for.
        if kind is None or issubclass(kind, Exception):
            for helper in self._helpers:
                helper.stop()

    def run(self, task: Callable[[int], None], count: int) -> None:
        """Call `task(0)` to `task(count - 1)`, each once; threads take the next one when free.

        Raises the first error of a task, after all threads have come to rest.
        """
        if count == 1 or not self._helpers:
            for index in range(count):
                task(index)
            return
        waiting = deque(range(count))

        def work() -> None:
            while waiting:
                try:
                    index = waiting.popleft()
                except IndexError:  # another thread was quicker
                    return
                task(index)

        helpers = self._helpers[: count - 1]
        for helper in helpers:
            helper.start(work)
        try:
            work()
        finally:
            waiting.clear()
            errors = [helper.wait() for helper in helpers]
        for error in errors:
            if error is not None:
                raise error

    def in_step(self, *phases: Callable[[int], None]) -> None:
        """Call `phase(0)` here and `phase(1)` in another thread, for one phase after the other.

        No phase begins before both have ended the one before. A helper is woken once for all of
        them: that takes 20 microseconds, as long as a small product.
        """
        if not self._helpers:
            for phase in phases:
                phase(0)
                phase(1)
            return
        *earlier, last = phases
        helper = self._helpers[0]

        meetings = [_Meeting() for _ in earlier]

        def work() -> None:
            try:
                for phase, meeting in zip(earlier, meetings, strict=True):
                    phase(1)
                    meeting.attend(1)
                last(1)
            except BaseException:
                for meeting in meetings:
                    meeting.call_off(1)
                raise

        helper.start(work)
        try:
            for phase, meeting in zip(earlier, meetings, strict=True):
                phase(0)
                meeting.attend(0)
            last(0)
        except BaseException:
            for meeting in meetings:
                meeting.call_off(0)
            raise
        finally:
            error = helper.wait()
            if error is not None and not isinstance(error, _CalledOffError):
                raise error

    def tiles(self, rows: int) -> list[slice]:
        """Cut `rows` rows into tiles of the same size; up to half a tile's rows are left whole."""
        if not self.on_cpu or 2 * rows <= TILE_ROWS:
            return [slice(0, rows)]
        count = -(-rows // (TILE_ROWS * TILES_SHARE)) * TILES_SHARE
        edges = [rows * number // count for number in range(count + 1)]
        return [slice(start, stop) for start, stop in pairwise(edges)]

    def map(self, function: Callable[[slice], Result], rows: int) -> Iterator[Result]:
        """Yield `function(tile)` for the tiles of `rows` rows, first tile first."""
        tiles = self.tiles(rows)
        results: dict[int, Result] = {}

        def task(index: int) -> None:
            results[index] = function(tiles[index])

        self.run(task, len(tiles))
        for index in range(len(tiles)):
            yield results.pop(index)


class _CalledOffError(Exception):
    """The other side of a meeting failed and will not come."""


class _Meeting:
    """A point where two threads, sides 0 and 1, wait for each other.

    It uses plain locks, held until the other side lets go: threading's barriers and semaphores are
    written in Python and take longer than a small product.
    """

    def __init__(self) -> None:
        self._there = (_held(), _held())
        self._called_off = False

    def attend(self, side: int) -> None:
        """Wait for the other side. Raises _CalledOffError where it failed."""
        self._there[side].release()
        self._there[1 - side].acquire()
        if self._called_off:
            raise _CalledOffError

    def call_off(self, side: int) -> None:
        """Let the other side go on without this one."""
        self._called_off = True
        if self._there[side].locked():
            self._there[side].release()


class _Helper:
    """A thread that sleeps until it is given work."""

    def __init__(self) -> None:
        self._work: Callable[[], None] | None = None
        self._error: BaseException | None = None
        self._given, self._done = _held(), _held()
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def start(self, work: Callable[[], None]) -> None:
        """Wake the thread to run `work`."""
        self._work, self._error = work, None
        self._given.release()

    def wait(self) -> BaseException | None:
        """Wait for the end of `work`; give the error it ended with."""
        self._done.acquire()
        return self._error

    def stop(self) -> None:
        """End the thread."""
        self._work = None
        self._given.release()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            self._given.acquire()
            if self._work is None:
                return
            try:
                self._work()
            except BaseException as error:
                self._error = error
            self._done.release()


def _held() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock
