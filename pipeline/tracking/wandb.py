"""Runs at Weights & Biases, or kept on this machine for later by WANDB_MODE=offline."""

from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

import wandb

from pipeline.errors import TrackingError
from pipeline.nn.training import EpochReport
from pipeline.tracking.tracker import (
    PROJECT,
    Description,
    Results,
    Status,
    local_folder,
    scores,
    set_defaults,
)

SECONDS = 15
"""To wait for the server when a run starts, and again when it ends."""
_EXIT_CODES = {"finished": 0, "failed": 1, "killed": 255}  # what W&B derives a run's state from


class WeightsAndBiases:
    """A run that training and evaluation share. The user's WANDB_* variables come before ours.

    Offline, each of the two leaves a folder in tracking/wandb/ and `wandb sync` joins them.
    """

    def __init__(self, description: Description, run: str | None) -> None:
        set_defaults(
            {
                "WANDB_PROJECT": PROJECT,
                "WANDB_DIR": str(local_folder()),
                "WANDB_SILENT": "true",
                "WANDB_CONSOLE": "off",  # the standard output is the stage's own
                "WANDB_ERROR_REPORTING": "false",
                "WANDB_INIT_TIMEOUT": str(SECONDS),
                "WANDB_FINISH_TIMEOUT": str(SECONDS),
                "WANDB_FINISH_TIMEOUT_RAISES": "true",
            }
        )
        local_folder().mkdir(exist_ok=True)  # W&B would take a folder that is missing for /tmp
        # On a terminal, init would ask for a key, and training would wait for the answer.
        self._online = wandb.setup().settings.mode in ("online", "run", "shared")
        if self._online and not wandb.login(prompt=False, verify=False):
            raise TrackingError("there is no login; run `wandb login`, or set WANDB_MODE=offline")
        self.run = run or uuid4().hex[:8]
        self._epochs: int = description.settings["epochs"]
        self._run = wandb.init(
            id=self.run,
            resume="allow",
            name=description.name,
            group=description.experiment,
            config=description.settings,
        )
        self.place = self._run.url if self._online else str(Path(self._run.dir).parent)

    def log(self, reports: Sequence[EpochReport]) -> None:
        """Queue the scores; W&B sends them in the background."""
        for report in reports:
            self._run.log(scores(report), step=report.epoch)

    def results(self, results: Results) -> None:
        """Add the metrics to the run's summary, the confusion matrix, and the model as artifact."""
        self._run.summary.update(results.metrics)
        number = {name: at for at, name in enumerate(results.class_names)}
        matrix = wandb.plot.confusion_matrix(
            y_true=results.predictions["label"].map(number).tolist(),
            preds=results.predictions["prediction"].map(number).tolist(),
            class_names=list(results.class_names),
            title="Test images",
        )
        self._run.log({"confusion_matrix": matrix}, step=self._epochs + 1)
        model = self._run.log_artifact(str(results.model), name=results.model.stem, type="model")
        if self._online:
            model.wait(SECONDS)  # or nobody would hear of an upload that fails

    def end(self, status: Status) -> None:
        """Wait until everything is sent. Raises TimeoutError if that takes too long."""
        self._run.finish(exit_code=_EXIT_CODES[status])
