"""The input and the output of every contestant, so that all of them do the same work.

Each contestant runs in its own process, and only `ours` imports `pipeline`. A job is therefore a
folder of plain files: arrays, initial weights, and settings as JSON. This module must not import
`pipeline` either.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class UnableError(Exception):
    """A contestant cannot train a variant or cannot run here; the message is the reason."""


class Epoch(NamedTuple):
    """Costs and accuracies of an epoch, as `EpochReport` defines them.

    None stands for a value that a library does not report.
    """

    cost: float | None
    accuracy: float | None
    validation_cost: float
    validation_accuracy: float


Epochs = Callable[[int], Iterator[Epoch]]
"""Takes a number of validation images; trains from the initial weights, without end."""


@dataclass(frozen=True)
class Job:
    """A variant to train. inputs: (N, 784); labels: (N,); weights: (n_in, n_out) and (n_out,)."""

    inputs: Floats
    labels: Labels
    validation_inputs: Floats
    validation_labels: Labels
    weights: list[tuple[Floats, Floats]]
    settings: dict[str, Any]
    seed: int
    threads: int

    @property
    def batch_size(self) -> int:
        """Images per batch."""
        size = self.settings["batch_size"]
        return len(self.labels) if size == "all" else min(size, len(self.labels))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.weights[-1][1])

    def order(self) -> np.random.Generator:
        """Return the generator whose permutations are the order of the images in each epoch.

        It equals that of `pipeline.nn.training.make_network`, so every contestant sees the same
        batches and ends its epochs with the same costs. A single batch needs no order.
        """
        return np.random.default_rng(self.seed).spawn(2)[1]


def write_job(folder: Path, job: Job) -> None:
    """Write a job to a folder of plain files."""
    folder.mkdir(parents=True)
    np.save(folder / "inputs.npy", job.inputs)
    np.save(folder / "labels.npy", job.labels)
    np.save(folder / "validation_inputs.npy", job.validation_inputs)
    np.save(folder / "validation_labels.npy", job.validation_labels)
    for number, (weight, bias) in enumerate(job.weights):
        np.save(folder / f"weight{number}.npy", weight)
        np.save(folder / f"bias{number}.npy", bias)
    text = json.dumps({"settings": job.settings, "seed": job.seed, "threads": job.threads})
    (folder / "job.json").write_text(text, encoding="utf-8")


def read_job(folder: Path) -> Job:
    """Return the job that `write_job` wrote to a folder."""
    layers = len(list(folder.glob("weight*.npy")))
    return Job(
        np.load(folder / "inputs.npy"),
        np.load(folder / "labels.npy"),
        np.load(folder / "validation_inputs.npy"),
        np.load(folder / "validation_labels.npy"),
        [
            (np.load(folder / f"weight{number}.npy"), np.load(folder / f"bias{number}.npy"))
            for number in range(layers)
        ],
        **json.loads((folder / "job.json").read_text(encoding="utf-8")),
    )
