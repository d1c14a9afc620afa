"""MLflow: runs on the server in MLFLOW_TRACKING_URI, or in a local folder."""

import logging
import os
import time
from collections.abc import Sequence
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.tracking.context.registry import resolve_tags

from pipeline.tracking.tracker import (
    PROJECT,
    Description,
    Epoch,
    Results,
    Status,
    local_folder,
    set_defaults,
)

SECONDS = 10
"""Timeout of one request; each request is tried twice."""
_LIMIT = 1000
"""Maximum number of metrics per MLflow request."""


class MLflow:
    """A run shared by training and evaluation. The user's MLFLOW_* variables take precedence."""

    def __init__(self, description: Description, run: str | None) -> None:
        set_defaults(
            {
                "MLFLOW_TRACKING_URI": (local_folder() / "mlflow").as_uri(),
                "MLFLOW_ALLOW_FILE_STORE": "true",  # MLflow recommends a database
                "MLFLOW_EXPERIMENT_NAME": PROJECT,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "MLFLOW_HTTP_REQUEST_TIMEOUT": str(SECONDS),
                "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
            }
        )
        logging.getLogger("urllib3").setLevel(logging.ERROR)  # it warns of every retry
        self._client = MlflowClient()
        self.run = run or self._start(description)
        self.place = f"{self._client.tracking_uri}, run {self.run}"

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Log the scores, with the epoch as the step."""
        now = time.time_ns() // 1_000_000
        metrics = [
            Metric(name, value, now, epoch)
            for epoch, scores in epochs
            for name, value in scores.items()
        ]
        for start in range(0, len(metrics), _LIMIT):
            self._client.log_batch(self.run, metrics[start : start + _LIMIT])

    def metrics(self, metrics: dict[str, Any]) -> None:
        """Log metrics of step 0."""
        now = time.time_ns() // 1_000_000
        self._client.log_batch(
            self.run, [Metric(name, value, now, 0) for name, value in metrics.items()]
        )

    def results(self, results: Results) -> None:
        """Log the metrics, and the confusion matrix and the model as artifacts."""
        self.metrics(results.metrics)
        classes = list(results.class_names)
        matrix = pd.crosstab(
            results.predictions["label"], results.predictions["prediction"], rownames=["label"]
        )
        matrix = matrix.reindex(index=classes, columns=classes, fill_value=0)
        self._client.log_text(self.run, matrix.to_csv(), "confusion_matrix.csv")
        self._client.log_artifact(self.run, str(results.model))

    def end(self, status: Status) -> None:
        """Set the run's status."""
        self._client.set_terminated(self.run, status.upper())

    def _start(self, description: Description) -> str:
        tags = resolve_tags()  # the user and the git commit
        if description.experiment:
            tags["dvc.experiment"] = description.experiment
        if description.study:
            tags["study"] = description.study
        run = self._client.create_run(self._experiment(), run_name=description.name, tags=tags)
        params = [Param(name, str(value)) for name, value in description.settings.items()]
        self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def _experiment(self) -> str:
        if number := os.environ.get("MLFLOW_EXPERIMENT_ID"):
            return number
        name = os.environ["MLFLOW_EXPERIMENT_NAME"]
        experiment = self._client.get_experiment_by_name(name)
        return str(experiment.experiment_id if experiment else self._client.create_experiment(name))
