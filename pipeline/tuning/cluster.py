"""Where trials run: local Dask workers, or the workers of an existing scheduler."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

from distributed import Client, Future, KilledWorker, LocalCluster, wait

from pipeline.base.errors import ClusterError
from pipeline.base.machine import available_cores
from pipeline.tuning.trial import Job, Outcome
from pipeline.tuning.worker import TrialData, refusal_of, run_on_worker

CONNECT, ANSWER, CLEAN_UP = 10, 60, 5
"""Timeouts in seconds for the scheduler to accept, and for all workers to answer or clean up."""
POLL = 1
"""Seconds between two checks for new workers."""


class Cluster:
    """Runs trials on the workers of a Dask client, one per thread.

    name: of the plugin that holds the data, and prefix of the trials' keys. If a client dies while
    a worker runs its trial, the trial continues and is picked up when it is submitted again.
    """

    def __init__(self, client: Client, name: str, data: TrialData) -> None:
        self._client = client
        self._name = name
        self._running: dict[Future[Outcome], int] = {}
        for package in ("pipeline.tuning", "optuna"):
            for worker, spec in self._ask(find_spec, package).items():
                if not isinstance(spec, ModuleSpec):
                    raise ClusterError(
                        f"the worker {worker} cannot import {package}; install this project there "
                        "with its extra sweep"
                    )
        with _reachable():
            client.register_plugin(data, name=name)
        for worker, refusal in self._ask(refusal_of, name).items():
            if refusal is not None:
                raise ClusterError(f"the worker {worker} {refusal}")

    def _ask(self, function: Callable[..., object], argument: str) -> dict[str, object]:
        """Call a function on every worker, including busy ones; return the answers by address."""
        try:
            answers = self._client.sync(
                self._client._run, function, argument, on_error="return", callback_timeout=ANSWER
            )
        except TimeoutError as error:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].items()
            latest = max(worker["last_seen"] for _, worker in workers)
            silent = [
                address for address, worker in workers if latest - worker["last_seen"] > ANSWER / 2
            ]
            raise ClusterError(
                f"not all workers answered within {ANSWER} s; restart {', '.join(silent) or 'them'}"
            ) from error
        return dict(sorted(answers.items()))

    @property
    def running(self) -> set[int]:
        """The numbers of the submitted trials that are not finished."""
        return set(self._running.values())

    def free(self) -> int:
        """Return the number of trials to submit, so that each worker thread has exactly one.

        Trials wait here and not on a worker: if a worker is killed, Dask counts the failure against
        all trials it holds.
        """
        with _reachable():
            return max(1, self.threads()) - len(self._running)

    def threads(self) -> int:
        """Return the total number of threads of all workers."""
        return sum(self._client.nthreads().values())

    def submit(self, number: int, job: Job) -> None:
        """Run a trial as soon as a thread is free."""
        with _reachable():
            key = f"{self._name}-{number}"
            future = self._client.submit(run_on_worker, job, self._name, key=key)
        self._running[future] = number

    def finished(self) -> Iterator[tuple[int, Outcome]]:
        """Yield finished trials with their numbers, or nothing if none finishes within a second.

        If a worker dies, its trials start again on another worker. A trial fails when too many of
        its workers have died.
        """
        done: set[Future[Outcome]] = set()
        with _reachable(), suppress(TimeoutError):
            done = wait(list(self._running), POLL, "FIRST_COMPLETED").done
        for future in sorted(done, key=self._running.__getitem__):
            number = self._running.pop(future)
            error = future.exception()
            if isinstance(error, KilledWorker):
                died = error.allowed_failures + 1
                reason = f"its worker died, {died} times; it may have run out of memory"
                yield number, Outcome("failed", reason=reason)
            elif error is not None:
                raise error
            else:
                with _reachable():
                    outcome = future.result()
                yield number, outcome


@contextmanager
def open_cluster(
    address: str | None, workers: int | None, name: str, data: TrialData, *, processes: bool = True
) -> Iterator[Cluster]:
    """Start local workers, by default one per core, or join the scheduler at `address`.

    processes: if False, run local workers as threads of this process. Raises ClusterError, with a
    one-line message, if no scheduler answers or a worker cannot run trials.
    """
    for logger in ("distributed", "distributed.client"):  # errors are reported as exceptions
        logging.getLogger(logger).setLevel(logging.CRITICAL)
    with _client(address, workers, processes=processes) as client:
        client.wait_for_workers(1)
        cluster = Cluster(client, name, data)
        try:
            yield cluster
        finally:
            with suppress(OSError, ValueError):  # the scheduler may be gone, or a worker may hang
                client.sync(client._unregister_worker_plugin, name=name, callback_timeout=CLEAN_UP)


@contextmanager
def _client(address: str | None, workers: int | None, *, processes: bool) -> Iterator[Client]:
    if address is None:
        local = LocalCluster(
            n_workers=workers or available_cores(),
            threads_per_worker=1,
            processes=processes,
            dashboard_address="127.0.0.1:0",  # any free port; 8787 may be taken
            silence_logs=logging.CRITICAL,
        )
        with local, Client(local) as client:
            yield client
        return
    try:
        client = Client(address, timeout=CONNECT)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {address}: {error}") from error
    with client:
        yield client


@contextmanager
def _reachable() -> Iterator[None]:
    """Raise ClusterError, with a one-line message, if the scheduler is lost."""
    try:
        yield
    except (CancelledError, OSError) as error:
        raise ClusterError(
            "the connection to the scheduler was lost; run the command again to continue "
            "(finished trials are saved)"
        ) from error
