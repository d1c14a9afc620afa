"""DVCLive: curves, metrics and a report in a folder, without a server."""

from collections.abc import Sequence
from pathlib import Path

from dvclive import Live

from pipeline.base.files import copy_file
from pipeline.nn.training import EpochReport
from pipeline.tracking.tracker import Description, Results, Status, local_folder, scores


class DVCLive:
    """A folder in tracking/dvclive/, or in a subfolder with the experiment's name.

    DVCLive does not write dvc.yaml or experiments, because DVC already has the metrics, plots and
    models. With a token of DVC Studio, the curves are also sent there during training.
    """

    def __init__(self, description: Description, run: str | None) -> None:
        folder = local_folder() / "dvclive"
        self.run = run or "/".join(filter(None, (description.experiment, description.variant)))
        self.place = str(folder / self.run)
        self._live = Live(
            self.place,
            resume=run is not None,
            report="html" if run else None,  # drawn once: redrawing it every epoch would be slow
            dvcyaml=None,
            save_dvc_exp=False,
        )
        self._live.log_params(description.settings)

    def log(self, reports: Sequence[EpochReport]) -> None:
        """Add one row per epoch to each curve."""
        for report in reports:
            self._live.step = report.epoch
            for name, value in scores(report).items():
                self._live.log_metric(name, value)
        self._live.next_step()

    def results(self, results: Results) -> None:
        """Add the metrics, the confusion matrix and a copy of the model."""
        for name, value in results.metrics.items():
            self._live.log_metric(name, value, plot=False)
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
