"""One training with given settings and seed, and what came of it. Knows nothing of Dask."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial

from pipeline.datasets.tables import Examples, StoredExamples
from pipeline.errors import PipelineError
from pipeline.nn.devices import find_device
from pipeline.nn.streaming import hold, training_set
from pipeline.nn.training import Training, make_network
from pipeline.params import VariantSettings
from pipeline.tuning.study import Watch


@dataclass(frozen=True)
class Pruning:
    """What a worker needs to see whether a trial falls behind: see `study.Watch`."""

    pruner: str
    epochs: int
    trials: Sequence[FrozenTrial]


@dataclass(frozen=True)
class Job:
    """A training to run.

    shuffle_buffer: images to hold in memory, if the others stay on disk. pruning: None to let the
    training run to its end.
    """

    settings: VariantSettings
    seed: int
    device: Literal["cpu", "gpu"]
    shuffle_buffer: int | Literal["all"] = "all"
    pruning: Pruning | None = None


@dataclass(frozen=True)
class Outcome:
    """What came of a training.

    accuracies: on the validation part, after each epoch. cost: on the validation part at the end,
    in the unit of the loss; None if the training failed. reason: why it failed, in one line.
    rungs: what Hyperband will compare later trials with.
    """

    state: Literal["complete", "pruned", "failed"]
    accuracies: list[float] = field(default_factory=list)
    cost: float | None = None
    reason: str | None = None
    rungs: dict[str, Any] = field(default_factory=dict)


def run_trial(job: Job, training: Examples | StoredExamples, validation: Examples) -> Outcome:
    """Train on one thread, as stage train would; a failure is an outcome like any other.

    training: in memory, or in a file for a shuffle_buffer.
    """
    device = find_device(job.device)
    watch = None
    if job.pruning is not None:
        watch = Watch(job.pruning.pruner, job.pruning.epochs, job.pruning.trials)
    part = training.first(job.settings.train_limit)
    classes = len(training.description.class_names)
    accuracies: list[float] = []
    cost, pruned = None, False
    try:
        network, rng = make_network(job.settings, classes, job.seed)
        engine = device.engine(network, job.settings, threads=1)
        images = training_set(engine, part, job.shuffle_buffer)
        run = Training(engine, job.settings, images, hold(engine, validation), rng)
        for report in run.run():
            accuracies.append(report.validation.accuracy)
            cost = report.validation.cost
            if watch is not None and watch.falls_behind(report.epoch, accuracies[-1]):
                pruned = report.epoch < job.settings.epochs
                break
    except Exception as error:  # whatever stops one trial must not stop the others: it is told
        return Outcome("failed", accuracies, reason=_reason(error))
    rungs = {} if watch is None else watch.rungs
    return Outcome("pruned" if pruned else "complete", accuracies, cost, rungs=rungs)


def _reason(error: Exception) -> str:
    """Say in one line what happened, and where if it was not foreseen."""
    text = " ".join(str(error).split())
    if isinstance(error, PipelineError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}, line {last.lineno})"
