"""Share work among threads, with results that do not depend on how many there are.

Floating-point addition depends on its order. So work is always cut into the same pieces, each is
computed by one thread alone (BLAS itself runs single-threaded, see `pipeline.processor`), and what
they give is put together in the order of the pieces, whichever thread was first.
"""

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from queue import SimpleQueue
from threading import Lock, Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

from pipeline.nn.backend import Device, available_cores

TILE_ROWS = 1024
"""Most rows in a tile: activations of this many stay in a core's cache."""

TILES_SHARE = 4
"""The number of tiles is a multiple of this, so that 2 or 4 threads have the same to do."""

Item = TypeVar("Item")
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

    def in_rounds(
        self,
        item: Item,
        first: Callable[[Item, int], None],
        alone: Callable[[Item], None],
        following: Callable[[], Item | None],
        last: Callable[[Item, int], None],
    ) -> None:
        """Take one item after another through three phases, in this thread and another one.

        A round is `first(item, 0)` beside `first(item, 1)`; then `alone(item)` beside
        `following()`, which gives the next round's item, or None at the end; then `last(item, 0)`
        beside `last(item, 1)`. No phase begins before the one before has ended, except `following`.
        To wake a thread takes 20 microseconds, as long as a small product. So the thread that comes
        last to the end of a phase goes on at once, with the next phase's longer part, 0.
        """
        here: Item | None = item
        after: Item | None = None
        if not self._helpers:
            while here is not None:
                first(here, 0)
                first(here, 1)
                alone(here)
                after = following()
                last(here, 0)
                last(here, 1)
                here = after
            return
        relay: _Relay[Item | None] = _Relay()

        def work(thread: int) -> None:
            nonlocal after
            here: Item | None = item
            part = thread
            try:
                while here is not None:
                    first(here, part)
                    if relay.is_last():
                        alone(here)
                        relay.wake(thread, here)
                        part = 0
                    else:
                        after = following()
                        relay.sleep(thread)
                        part = 1
                    last(here, part)
                    if relay.is_last():
                        here, part = after, 0
                        relay.wake(thread, here)
                    else:
                        here, part = relay.sleep(thread), 1
            except BaseException:
                relay.call_off()
                raise

        helper = self._helpers[0]
        helper.start(partial(work, 1))
        try:
            work(0)
        except _CalledOffError:
            pass
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
    """The other thread failed."""


class _Relay(Generic[Item]):
    """Where two threads, 0 and 1, meet again and again; the later one hands the other an item.

    It uses what is written in C: threading's barriers and semaphores are written in Python and take
    longer than a small product.
    """

    def __init__(self) -> None:
        self._somebody_is_there = Lock()
        self._calls: tuple[SimpleQueue[Item | _CalledOffError], ...] = SimpleQueue(), SimpleQueue()

    def is_last(self) -> bool:
        """Say, at a meeting, whether the other thread is there already."""
        if self._somebody_is_there.acquire(blocking=False):
            return False
        self._somebody_is_there.release()
        return True

    def sleep(self, thread: int) -> Item:
        """Let `thread` wait for the other one. Raises _CalledOffError where that one failed."""
        call = self._calls[thread].get()
        if isinstance(call, _CalledOffError):
            raise call
        return call

    def wake(self, thread: int, item: Item) -> None:
        """Let the other one than `thread` go on, which sleeps or is about to."""
        self._calls[1 - thread].put(item)

    def call_off(self) -> None:
        """Let the other thread end, at the next meeting at the latest."""
        for calls in self._calls:
            calls.put(_CalledOffError())


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
