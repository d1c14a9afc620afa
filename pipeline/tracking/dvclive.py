"""DVCLive: curves, metrics and a report in a folder, without a server."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dvclive import Live

from pipeline.base.files import copy_file
from pipeline.tracking.tracker import Description, Epoch, Results, Status, local_folder


class DVCLive:
    """A folder in tracking/dvclive/, or in a subfolder with the name of the experiment or study.

    DVCLive does not write dvc.yaml or experiments, because DVC already has the metrics, plots and
    models. With a token of DVC Studio, the curves are also sent there during training.
    """

    def __init__(self, description: Description, run: str | None) -> None:
        folder = local_folder() / "dvclive"
        parts = (
            description.experiment,
            description.study,
            description.trial or description.variant,
        )
        self.run = run or "/".join(part.replace(" ", "-") for part in parts if part)
        self.place = str(folder / self.run)
        self._live = Live(
            self.place,
            resume=run is not None,
            report="html" if run else None,  # drawn once: redrawing it every epoch would be slow
            dvcyaml=None,
            save_dvc_exp=False,
        )
        self._live.log_params(description.settings)

    def log(self, epochs: Sequence[Epoch]) -> None:
        """Add one row per epoch to each curve."""
        for epoch, scores in epochs:
            self._live.step = epoch
            for name, value in scores.items():
                self._live.log_metric(name, value)
        self._live.next_step()

    def metrics(self, metrics: dict[str, Any]) -> None:
        """Add metrics without curves."""
        for name, value in metrics.items():
            self._live.log_metric(name, value, plot=False)

    def results(self, results: Results) -> None:
        """Add the metrics, the confusion matrix and a copy of the model."""
        self.metrics(results.metrics)
        self._live.log_sklearn_plot(
            "confusion_matrix",
            results.predictions["label"].tolist(),
            results.predictions["prediction"].tolist(),
            title="Test images",
        )
        # DVC already stores the model; a copy makes the folder complete.
        copies = Path(self._live.artifacts_dir)
        copies.mkdir(exist_ok=True)
        copy_file(results.model, copies / results.model.name)

    def end(self, status: Status) -> None:
        """Write metrics.json with the status as a metric, because DVCLive has no status."""
        self._live.log_metric("status", status, plot=False)
        self._live.end()
