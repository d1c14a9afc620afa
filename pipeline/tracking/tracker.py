"""What a tracker is to the pipeline: it is told of a run, of its epochs and of its results."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd

from pipeline.nn.training import EpochReport

PROJECT = "handwritten-digits"
"""The runs' project (W&B) or experiment (MLflow), unless the tracker's own variables name one."""
Status = Literal["finished", "failed", "killed"]
"""failed: training could not go on. killed: someone stopped it, by Ctrl-C or SIGTERM."""


@dataclass(frozen=True)
class Description:
    """Which run this is.

    settings: flat; the variant's name and settings, the seed, dataset, source and number of images.
    experiment: DVC's name for it; None outside `dvc exp run`.
    """

    variant: str
    settings: dict[str, Any]
    experiment: str | None

    @property
    def name(self) -> str:
        """The name that people see."""
        return f"{self.variant} {self.experiment}" if self.experiment else self.variant


@dataclass(frozen=True)
class Results:
    """What a trained network is worth.

    metrics: as in metrics/VARIANT.json; those of the test set begin with `test_`.
    predictions: a row a test image, with columns label and prediction (class names).
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame
    class_names: tuple[str, ...]
    model: Path


class Tracker(Protocol):
    """A run that a tracker keeps. It starts, or is taken up again, when the object is made.

    run: what takes it up again in another process. place: where a person finds it.
    Any method may raise anything.
    """

    run: str
    place: str

    def log(self, reports: Sequence[EpochReport]) -> None:
        """Take the reports of one or more epochs."""

    def results(self, results: Results) -> None:
        """Take what the trained network is worth, and the network itself."""

    def end(self, status: Status) -> None:
        """Close the run and hand over what is still on its way."""


def scores(report: EpochReport) -> dict[str, float]:
    """Give an epoch's scores under the names they have with every tracker."""
    return {
        f"{part}/{measure}": getattr(getattr(report, part), measure)
        for part in ("train", "validation")
        for measure in ("cost", "accuracy")
    }


def local_folder() -> Path:
    """Give the folder for what trackers leave on this machine, as an absolute path.

    DVC runs queued experiments in copies of the project that it deletes afterwards; DVC_ROOT is
    the project itself, in them and outside.
    """
    return Path(os.environ.get("DVC_ROOT", ".")).resolve() / "tracking"


def set_defaults(variables: dict[str, str]) -> None:
    """Set environment variables that the user has not set."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)
