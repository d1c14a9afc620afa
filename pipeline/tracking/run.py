"""A run with or without a tracker. If the tracker fails, the run continues without it."""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.base.errors import TrackingError, in_one_line
from pipeline.base.files import read_json, write_json
from pipeline.base.tables import Table
from pipeline.nn.model_file import Model
from pipeline.nn.training import EpochReport
from pipeline.tracking.tracker import Description, Epoch, Results, Status, Tracker, scores

RUNS = Path("tracking/runs")
"""Folder with one file per variant that names the run that trained its model."""
SECONDS = 1.0
"""Minimum number of seconds between two calls: epochs may be shorter than a tracker takes."""

Warn = Callable[[str], None]


class TrackedRun:
    """A run of a variant, logged to `tracker`, a name from params.yaml.

    study, trial: of a sweep or repeat, see Description. `none` imports no tracker's package. If a
    tracker fails, `warn` is called with one line, and the tracker is not used again in this run.
    """

    def __init__(
        self,
        tracker: str,
        variant: str,
        training: dict[str, Any],
        warn: Warn,
        study: str | None = None,
        trial: str | None = None,
    ) -> None:
        self.place: str | None = None
        self.failed = False
        self._name = tracker
        self._variant = variant
        settings = {key: value for key, value in training.items() if key != "settings"}
        self._description = Description(
            variant,
            {"variant": variant} | training["settings"] | settings,
            os.environ.get("DVC_EXP_NAME"),
            study,
            trial,
        )
        self._warn = warn
        self._tracker: Tracker | None = None
        self._run: str | None = None
        self._waiting: list[Epoch] = []
        self._due = time.monotonic() + SECONDS

    def start(self, model: Path | None = None) -> None:
        """Start a run, or resume the one that trained `model`."""
        if self._name != "none":
            self._attempt(lambda: self._open(model))

    def log(self, *reports: EpochReport) -> None:
        """Log epochs, at most once in SECONDS; later epochs wait for the next time."""
        if self._tracker is not None:
            self._waiting.extend(map(scores, reports))
            if time.monotonic() >= self._due:
                self._attempt(self._flush)
                self._due = time.monotonic() + SECONDS

    def remember(self, model: Path) -> None:
        """Record which run trained `model`, for a later process."""
        if self._run is not None:
            content = {"tracker": self._name, "run": self._run, "model": _digest(model)}
            self._attempt(lambda: write_json(RUNS / f"{self._variant}.json", content))

    def summarize(self, epochs: list[Epoch], metrics: dict[str, Any]) -> None:
        """Log the epochs and the metrics of a run that has ended."""
        self._waiting.extend(epochs)
        self._attempt(self._flush)
        if (tracker := self._tracker) is not None and metrics:
            self._attempt(lambda: tracker.metrics(metrics))

    def results(self, results: Results) -> None:
        """Log the results of the trained network."""
        if (tracker := self._tracker) is not None:
            self._attempt(lambda: tracker.results(results))

    def end(self, status: Status) -> None:
        """Log what is pending and end the run."""
        self._attempt(self._flush)
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
        # The model may be newer than the run, or DVC may have restored another one.
        if (content.get("tracker"), content.get("model")) != (self._name, _digest(model)):
            return None
        return str(content["run"])

    def _flush(self) -> None:
        if self._tracker is not None and self._waiting:
            waiting, self._waiting = self._waiting, []
            self._tracker.log(waiting)

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        # A tracker is third-party code that uses the network: it can raise anything, and no error
        # of it may stop a training run.
        except Exception as error:
            self._tracker, self.failed = None, True
            reason = _public(in_one_line(error))
            self._warn(f"{self._variant} continues without {self._name}, which failed: {reason}")


@contextmanager
def tracked_training(
    tracker: str, variant: str, training: dict[str, Any], warn: Warn
) -> Iterator[TrackedRun]:
    """Track a training run for as long as the block lasts, and end it with the block's status.

    training: a variant's `settings`, and the other training details of a model file.
    """
    run = TrackedRun(tracker, variant, training, warn)
    run.start()
    try:
        yield run
    except (KeyboardInterrupt, SystemExit):  # SIGTERM is a SystemExit, see pipeline.base.command
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
    predictions: Table,
    warn: Warn,
) -> None:
    """Add the results of the model in `path` to the run that trained it, or else to a new run."""
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
            f"{error.name} is not installed; install it with `pip install -e '.[tracking]'`"
        ) from error


def _public(text: str) -> str:
    """Hide user names and passwords in URLs."""
    return re.sub(r"://[^/@\s]+@", "://***@", text)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
