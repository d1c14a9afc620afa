"""Weights & Biases: runs on its server, or stored locally with WANDB_MODE=offline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import wandb

from pipeline.base.errors import TrackingError
from pipeline.tracking.tracker import (
    PROJECT,
    Description,
    Epoch,
    Results,
    Status,
    local_folder,
    set_defaults,
)

SECONDS = 15
"""Timeout for the server when a run starts, and again when it ends."""
_EXIT_CODES = {"finished": 0, "failed": 1, "killed": 255}  # W&B derives a run's state from them


class WeightsAndBiases:
    """A run shared by training and evaluation. The user's WANDB_* variables take precedence.

    Offline, each of the two writes a folder in tracking/wandb/, and `wandb sync` merges them.
    """

    def __init__(self, description: Description, run: str | None) -> None:
        set_defaults(
            {
                "WANDB_PROJECT": PROJECT,
                "WANDB_DIR": str(local_folder()),
                "WANDB_SILENT": "true",
                "WANDB_CONSOLE": "off",  # the stage owns standard output
                "WANDB_ERROR_REPORTING": "false",
                "WANDB_INIT_TIMEOUT": str(SECONDS),
                "WANDB_FINISH_TIMEOUT": str(SECONDS),
                "WANDB_FINISH_TIMEOUT_RAISES": "true",
            }
        )
        local_folder().mkdir(exist_ok=True)  # W&B would use /tmp if the folder were missing
        # On a terminal, init would ask for a key and block training.
        self._online = wandb.setup().settings.mode in ("online", "run", "shared")
        if self._online and not wandb.login(prompt=False, verify=False):
            raise TrackingError("not logged in; run `wandb login`, or set WANDB_MODE=offline")
        self.run = run or uuid4().hex[:8]
        self._epochs: int = description.settings["epochs"]
        self._run = wandb.init(
            id=self.run,
            resume="allow",
            name=description.name,
            group=description.study or description.experiment,
            config=description.settings,
        )
        self.place = self._run.url if self._online else str(Path(self._run.dir).parent)

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Queue the scores. W&B sends them in the background."""
        for epoch, scores in epochs:
            self._run.log(scores, step=epoch)

    def metrics(self, metrics: dict[str, Any]) -> None:
        """Add metrics to the run's summary."""
        self._run.summary.update(metrics)

    def results(self, results: Results) -> None:
        """Log the metrics in the run's summary, the confusion matrix, and the model as artifact."""
        self.metrics(results.metrics)
        number = {name: at for at, name in enumerate(results.class_names)}
        matrix = wandb.plot.confusion_matrix(
            y_true=[number[name] for name in results.predictions["label"].tolist()],
            preds=[number[name] for name in results.predictions["prediction"].tolist()],
            class_names=list(results.class_names),
            title="Test images",
        )
        self._run.log({"confusion_matrix": matrix}, step=self._epochs + 1)
        model = self._run.log_artifact(str(results.model), name=results.model.stem, type="model")
        if self._online:
            model.wait(SECONDS)  # otherwise a failed upload would go unnoticed

    def end(self, status: Status) -> None:
        """Wait until everything is sent. Raises TimeoutError if it takes too long."""
        self._run.finish(exit_code=_EXIT_CODES[status])
