"""A tracked run for each trial of a sweep, of repeats or of a cross-validation, grouped by study.

The process that starts the trials logs each one when it has ended, so workers need no tracker.
"""

from typing import Any

from pipeline.tracking.run import TrackedRun, Warn
from pipeline.tracking.tracker import Status
from pipeline.tuning.trial import Job, Outcome

_STATUS: dict[str, Status] = {"complete": "finished", "pruned": "killed", "failed": "failed"}


class TrackedTrials:
    """Logs trials to a tracker, a name from params.yaml; with `none` nothing is done.

    study: the name of the group. If the tracker fails, `warn` is called with one line, and later
    trials are not logged.
    """

    def __init__(self, tracker: str, study: str, variant: str, dataset: str, warn: Warn) -> None:
        self._tracker = tracker
        self._study = study
        self._variant = variant
        self._dataset = dataset
        self._warn = warn

    def add(self, trial: str, job: Job, outcome: Outcome) -> None:
        """Log a trial that has ended: its settings, the accuracy of each epoch, and the result."""
        if self._tracker == "none":
            return
        training: dict[str, Any] = {
            "settings": job.settings.model_dump(),
            "seed": job.seed,
            "dataset": self._dataset,
        }
        if job.fold is not None:
            training["fold"] = job.fold.number
        run = TrackedRun(self._tracker, self._variant, training, self._warn, self._study, trial)
        run.start()
        epochs = [
            (epoch, {"validation/accuracy": accuracy})
            for epoch, accuracy in enumerate(outcome.accuracies, start=1)
        ]
        metrics: dict[str, Any] = {}
        if outcome.state != "failed":
            metrics = {"validation_accuracy": outcome.accuracy, "validation_cost": outcome.cost}
        run.summarize(epochs, metrics)
        run.end(_STATUS[outcome.state])
        if run.failed:
            self._tracker = "none"
