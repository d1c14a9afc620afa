"""The interface of a tracker: it receives a run's description, epochs and results."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pipeline.base.tables import Table
from pipeline.nn.training import EpochReport

PROJECT = "handwritten-digits"
"""Default name of the project (W&B) or experiment (MLflow); the trackers' variables override it."""
Epoch = tuple[int, dict[str, float]]
"""The number of an epoch and its scores, by name."""
Status = Literal["finished", "failed", "killed"]
"""failed: training raised an error. killed: the user stopped it with Ctrl-C or SIGTERM."""


@dataclass(frozen=True)
class Description:
    """The description of a run.

    settings: flat; the variant's name and settings, the seed, dataset, source and number of images.
    experiment: DVC's name for the experiment; None outside `dvc exp run`. study, trial: the names
    of a sweep or repeat and of one of its trials; None for a stage of the pipeline.
    """

    variant: str
    settings: dict[str, Any]
    experiment: str | None
    study: str | None = None
    trial: str | None = None

    @property
    def name(self) -> str:
        """The name shown to users."""
        if self.study:
            return f"{self.study}, {self.trial}"
        return f"{self.variant} {self.experiment}" if self.experiment else self.variant


@dataclass(frozen=True)
class Results:
    """The results of a trained network.

    metrics: as in metrics/variants/VARIANT.json; names of test metrics begin with `test_`.
    predictions: one row per test image, with columns label and prediction (class names).
    """

    metrics: dict[str, Any]
    predictions: Table
    class_names: tuple[str, ...]
    model: Path


class Tracker(Protocol):
    """A tracker's run. Creating the object starts or resumes it.

    run: identifies the run, to resume it in another process. place: where to find it. Any method
    may raise any exception.
    """

    run: str
    place: str

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Log the scores of one or more epochs."""

    def metrics(self, metrics: dict[str, Any]) -> None:
        """Log final metrics."""

    def results(self, results: Results) -> None:
        """Log the results of the trained network, its metrics included, and the network itself."""

    def end(self, status: Status) -> None:
        """End the run, after sending everything that is pending."""


def scores(report: EpochReport) -> Epoch:
    """Return the scores of an epoch, under the names used with every tracker."""
    return report.epoch, {
        f"{part}/{measure}": getattr(getattr(report, part), measure)
        for part in ("train", "validation")
        for measure in ("cost", "accuracy")
    }


def local_folder() -> Path:
    """Return the absolute path of the folder for a tracker's local files.

    DVC runs queued experiments in temporary copies of the project. DVC_ROOT is the project itself,
    also in a copy.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / "tracking"


def set_defaults(variables: dict[str, str]) -> None:
    """Set the environment variables that the user has not set."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
