"""One training run with given settings and seed, and its outcome. Independent of Dask."""

import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from optuna.trial import FrozenTrial

from pipeline.base.errors import PipelineError
from pipeline.base.params import VariantSettings
from pipeline.datasets.examples import Examples
from pipeline.datasets.parquet import StoredExamples
from pipeline.nn.devices import find_device
from pipeline.nn.streaming import hold, training_set
from pipeline.nn.training import Training, make_network
from pipeline.tuning.folds import Fold
from pipeline.tuning.study import Watch


@dataclass(frozen=True)
class Pruning:
    """What a worker needs to decide whether a trial falls behind, see `study.Watch`."""

    pruner: str
    epochs: int
    trials: Sequence[FrozenTrial]


@dataclass(frozen=True)
class Job:
    """A training run to be done.

    shuffle_buffer: number of images in memory; `all`, or the others stay on disk. pruning: None to
    train for all epochs. fold: validate on this fold of all images, and train on the others.
    """

    settings: VariantSettings
    seed: int
    device: Literal["cpu", "gpu"]
    shuffle_buffer: int | Literal["all"] = "all"
    pruning: Pruning | None = None
    fold: Fold | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of a training run.

    accuracies: on the validation set, after each epoch. cost: on the validation set in the epoch
    kept, in the unit of the loss; None if training failed. kept: number of that epoch. reason: why
    training failed, in one line. rungs: the values that Hyperband compares later trials with.
    """

    state: Literal["complete", "pruned", "failed"]
    accuracies: list[float] = field(default_factory=list)
    cost: float | None = None
    kept: int = 0
    reason: str | None = None
    rungs: dict[str, Any] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """The validation accuracy in the epoch kept, or in the last epoch of a failed run."""
        return self.accuracies[self.kept - 1]


def run_trial(job: Job, training: Examples | StoredExamples, validation: Examples) -> Outcome:
    """Train on one thread, as the train stage does. A failure is returned as an outcome.

    training: in memory, or in a file if the job has a shuffle_buffer.
    """
    device = find_device(job.device)
    watch = None
    if job.pruning is not None:
        watch = Watch(job.pruning.pruner, job.pruning.epochs, job.pruning.trials)
    others, held_out = (
        job.fold.of(training, validation) if job.fold is not None else (training, validation)
    )
    part = others.first(job.settings.train_limit)
    settings = job.settings.on(len(part))
    classes = len(training.description.class_names)
    accuracies: list[float] = []
    pruned = False
    try:
        network, rng = make_network(settings, classes, job.seed)
        engine = device.engine(network, settings, threads=1)
        images = training_set(engine, part, job.shuffle_buffer)
        run = Training(engine, settings, images, hold(engine, held_out), rng)
        for report in run.epochs():
            accuracies.append(report.validation.accuracy)
            if watch is not None and watch.falls_behind(report.epoch, accuracies[-1]):
                pruned = not run.finished
                break
    except Exception as error:  # one trial must not stop the others; the outcome has the reason
        return Outcome("failed", accuracies, reason=_reason(error))
    rungs = {} if watch is None else watch.rungs
    state: Literal["pruned", "complete"] = "pruned" if pruned else "complete"
    cost = run.reports[run.kept - 1].validation.cost
    return Outcome(state, accuracies, cost, run.kept, rungs=rungs)


def _reason(error: Exception) -> str:
    """Return the cause of a failure in one line, with its location if it was unexpected."""
    text = " ".join(str(error).split())
    if isinstance(error, PipelineError):
        return text
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {text} ({Path(last.filename).name}, line {last.lineno})"
