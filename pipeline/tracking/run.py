"""A run with or without a tracker. A tracker that fails is left out; the run never notices."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.errors import TrackingError, in_one_line
from pipeline.files import read_json, write_json
from pipeline.nn.model_file import Model
from pipeline.nn.training import EpochReport
from pipeline.tracking.tracker import Description, Results, Status, Tracker

RUNS = Path("tracking/runs")
"""A file a variant that says which run trained its model."""
SECONDS = 1.0
"""Epochs may be far shorter than a tracker's answer, so it hears of them once in so long."""

Warn = Callable[[str], None]


class TrackedRun:
    """A run of a variant, told to the tracker called `tracker`, one of params.yaml's names.

    `none` loads no tracker's package. Whatever goes wrong with a tracker is one line through
    `warn`, and the tracker hears no more of this run.
    """

    def __init__(self, tracker: str, variant: str, training: dict[str, Any], warn: Warn) -> None:
        self.place: str | None = None
        self._name = tracker
        self._variant = variant
        settings = {key: value for key, value in training.items() if key != "settings"}
        self._description = Description(
            variant,
            {"variant": variant} | training["settings"] | settings,
            os.environ.get("DVC_EXP_NAME"),
        )
        self._warn = warn
        self._tracker: Tracker | None = None
        self._run: str | None = None
        self._waiting: list[EpochReport] = []

    def start(self, model: Path | None = None) -> None:
        """Start a run, or take up the one that trained `model`."""
        if self._name != "none":
            self._attempt(lambda: self._open(model))

    def follow(
        self, reports: Iterable[EpochReport], earlier: Iterable[EpochReport] = ()
    ) -> Iterator[EpochReport]:
        """Pass reports on while telling the tracker of them, and of those from before a pause."""
        told = time.monotonic()
        if self._tracker is not None:
            self._waiting.extend(earlier)
        for report in reports:
            if self._tracker is not None:
                self._waiting.append(report)
                if time.monotonic() - told >= SECONDS:
                    self._attempt(self._tell)
                    told = time.monotonic()
            yield report

    def remember(self, model: Path) -> None:
        """Let a later process find the run that trained `model`."""
        if self._run is not None:
            content = {"tracker": self._name, "run": self._run, "model": _digest(model)}
            self._attempt(lambda: write_json(RUNS / f"{self._variant}.json", content))

    def results(self, results: Results) -> None:
        """Tell the tracker what the network is worth."""
        if (tracker := self._tracker) is not None:
            self._attempt(lambda: tracker.results(results))

    def end(self, status: Status) -> None:
        """Close the run."""
        self._attempt(self._tell)
        if (tracker := self._tracker) is not None:
            self._attempt(lambda: tracker.end(status))
        self._tracker = None

    def _open(self, model: Path | None) -> None:
        earlier = None if model is None else self._remembered(model)
        tracker = _tracker(self._name)(self._description, earlier)
        self._tracker, self._run, self.place = tracker, tracker.run, _public(tracker.place)

    def _remembered(self, model: Path) -> str | None:
        path = RUNS / f"{self._variant}.json"
        if not path.exists():
            return None
        content = read_json(path)
        # The model may be newer than the run, or another that DVC has brought back.
        if (content.get("tracker"), content.get("model")) != (self._name, _digest(model)):
            return None
        return str(content["run"])

    def _tell(self) -> None:
        if self._tracker is not None and self._waiting:
            waiting, self._waiting = self._waiting, []
            self._tracker.log(waiting)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        # A tracker is others' code that talks to other machines: it can raise anything, and none
        # of it is worth a training run.
        except Exception as error:
            self._tracker = None
            reason = _public(in_one_line(error))
            self._warn(f"{self._variant} goes on without {self._name}, which failed: {reason}")


@contextmanager
def tracked_training(
    tracker: str, variant: str, training: dict[str, Any], warn: Warn
) -> Iterator[TrackedRun]:
    """Give the run of a training that lasts as long as the block, and end it as the block ends.

    training: `settings`, a variant's, and what else a model file says of what trained it.
    """
    run = TrackedRun(tracker, variant, training, warn)
    run.start()
    try:
        yield run
    except (KeyboardInterrupt, SystemExit):  # SIGTERM is a SystemExit, see pipeline.command
        run.end("killed")
        raise
    except BaseException:
        run.end("failed")
        raise
    run.end("finished")


def track_results(
    tracker: str,
    model: Model,
    path: Path,
    metrics: dict[str, Any],
    predictions: pd.DataFrame,
    warn: Warn,
) -> None:
    """Add what the model in `path` is worth to the run that trained it, or else to a new one."""
    run = TrackedRun(tracker, model.variant, model.training, warn)
    run.start(path)
    run.results(Results(metrics, predictions, model.class_names, path))
    run.end("finished")


def _tracker(name: str) -> Callable[[Description, str | None], Tracker]:
    try:
        if name == "dvclive":
            from pipeline.tracking.dvclive import DVCLive

            return DVCLive
        if name == "wandb":
            from pipeline.tracking.wandb import WeightsAndBiases

            return WeightsAndBiases
        from pipeline.tracking.mlflow import MLflow

        return MLflow
    except ModuleNotFoundError as error:
        raise TrackingError(
            f"{error.name} is not installed; get it with `pip install -e '.[tracking]'`"
        ) from error


def _public(text: str) -> str:
    """Hide names and passwords in addresses."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
