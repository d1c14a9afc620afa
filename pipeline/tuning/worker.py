"""The Dask worker's side: the data, sent once per worker, and whether the worker may run trials.

Dask sends a plugin to every worker, including those that join or restart later. The plugin carries
the Parquet files, a twentieth of the size of the arrays, so workers need no shared disk.
"""

import asyncio
import tempfile
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from pipeline.base.errors import ClusterError
from pipeline.datasets.examples import Examples
from pipeline.datasets.parquet import StoredExamples, open_examples, read_examples
from pipeline.tuning.fingerprint import Fingerprint, own_fingerprint
from pipeline.tuning.trial import Job, Outcome, run_trial


class TrialData(WorkerPlugin):
    """The training and validation sets, read from the bytes of their Parquet files.

    in_memory: whether trials hold all training images in memory, or read them from the file.
    refusal: why this worker must not run trials, because its results could differ; None if it may.
    """

    idempotent = True  # a resumed sweep finds the data already on the workers
    training: Examples | StoredExamples
    validation: Examples
    refusal: str | None = "could not read the data"
    _folder: tempfile.TemporaryDirectory[str]

    def __init__(
        self, training: bytes, validation: bytes, wanted: Fingerprint, *, in_memory: bool
    ) -> None:
        self._files = {"training": training, "validation": validation}
        self._wanted = wanted
        self._in_memory = in_memory

    async def setup(self, worker: Worker) -> None:
        """Read the examples in a thread, so that the worker's heartbeats continue."""
        await asyncio.to_thread(self._read, worker.local_directory)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  # Dask's interface
        """Remove the files."""
        self._folder.cleanup()

    def _read(self, scratch: str) -> None:
        self._folder = tempfile.TemporaryDirectory(dir=scratch)
        paths = {name: Path(self._folder.name) / f"{name}.parquet" for name in self._files}
        for name, path in paths.items():
            path.write_bytes(self._files.pop(name))
        self.validation = read_examples(paths["validation"])
        self.training = (read_examples if self._in_memory else open_examples)(paths["training"])
        self.refusal = self._wanted.refusal(own_fingerprint())


def refusal_of(name: str, dask_worker: Worker) -> str | None:
    """Return why a worker must not run the trials of the plugin `name`, or None."""
    plugin = dask_worker.plugins.get(name)
    return plugin.refusal if isinstance(plugin, TrialData) else "has not received the data"


def run_on_worker(job: Job, name: str) -> Outcome:
    """Run a trial with the data of the plugin `name`.

    Raises ClusterError on a worker whose results could differ from the others'.
    """
    worker = get_worker()
    data, refusal = worker.plugins.get(name), refusal_of(name, worker)
    if refusal is not None or not isinstance(data, TrialData):
        raise ClusterError(f"the worker {worker.address} {refusal}")
    return run_trial(job, data.training, data.validation)
