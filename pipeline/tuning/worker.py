"""What a Dask worker holds: the examples, which reach it once, and whether it may run trials.

Dask hands a plugin to every worker, also to one that joins or restarts later. It carries the
Parquet files as they are, a twentieth of the arrays in size, so no disk needs to be shared.
"""

import asyncio
import tempfile
from pathlib import Path

from distributed import Worker, WorkerPlugin, get_worker

from pipeline.datasets.tables import Examples, StoredExamples, open_examples, read_examples
from pipeline.errors import ClusterError
from pipeline.tuning.fingerprint import Fingerprint, own_fingerprint
from pipeline.tuning.trial import Job, Outcome, run_trial


class TrialData(WorkerPlugin):
    """The training and the validation part, from the bytes of their Parquet files.

    in_memory: whether trials hold all training images in memory, or draw from the file. refusal:
    why this worker must not run trials, if so: its results would not be those of the others.
    """

    idempotent = True  # a sweep that is taken up again finds the data where they are
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
        """Take the examples out of their files, without keeping the worker from its heartbeats."""
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
    """Say why a worker must not run the trials of the plugin `name`, if so."""
    plugin = dask_worker.plugins.get(name)
    return plugin.refusal if isinstance(plugin, TrialData) else "has not been given the data"


def run_on_worker(job: Job, name: str) -> Outcome:
    """Run a trial with the data of the plugin `name`.

    Raises ClusterError on a worker whose results would not be those of the others.
    """
    worker = get_worker()
    data, refusal = worker.plugins.get(name), refusal_of(name, worker)
    if refusal is not None or not isinstance(data, TrialData):
        raise ClusterError(f"the worker {worker.address} {refusal}")
    return run_trial(job, data.training, data.validation)
