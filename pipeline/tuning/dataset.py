"""The splits of a dataset other than that of params.yaml, for sweeps and repeats alone.

The stages download, convert and split make them in a folder of their own, so what the pipeline made
stays as it is.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline.base.errors import DataError, SettingsError
from pipeline.base.files import write_json
from pipeline.base.params import Settings
from pipeline.tuning.store import digest_of

PROJECT = Path(__file__).resolve().parent.parent.parent
SPLITS = Path("data/splits")
STAGES = ("download", "convert", "split")


def with_dataset(
    settings: Settings, name: str | None, store: Path, report: Callable[[str], None]
) -> tuple[Settings, Path]:
    """Return settings for a dataset of params.yaml, and the folder of its splits.

    name: None for the dataset that params.yaml names, whose splits are those of the pipeline. Those
    of another are made in a folder of `store`, named by everything that determines them, and kept.
    Raises SettingsError for an unknown name and DataError, with the stage's own line, if a stage
    fails.
    """
    if name is None or name == settings.dataset:
        return settings, SPLITS
    if name not in settings.datasets:
        raise SettingsError(f"--dataset must be one of {', '.join(settings.datasets)}, got {name}")
    chosen = settings.model_copy(update={"dataset": name})
    content = chosen.model_dump(mode="json", exclude_unset=True, warnings=False)
    content["datasets"] = {name: content["datasets"][name]}
    content["datasets"][name]["source"] = _absolute(content["datasets"][name]["source"])
    made_from = {key: content[key] for key in ("seed", "normalize", "dataset", "datasets")}
    folder = store / "datasets" / f"{name}-{digest_of(made_from)}"
    splits = folder / SPLITS
    if splits.exists():
        return chosen, splits
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "params.yaml", content)  # JSON is YAML
    paths = [str(PROJECT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {key: value for key, value in os.environ.items() if key != "DVC_STAGE"}
    for stage in STAGES:
        report(f"{name}: {stage}")
        done = subprocess.run(  # noqa: S603  # the names of the stages are fixed
            [sys.executable, "-m", f"stages.{stage}"],
            cwd=folder, env=environment | {"PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise DataError(f"{name}, {stage}: {lines[-1].removeprefix('Error: ')}")
    return chosen, splits


def _absolute(source: str | list[str]) -> str | list[str]:
    """Return sources with paths that do not depend on the working directory."""
    if isinstance(source, list):
        return [str(_absolute(each)) for each in source]
    elsewhere = source == "embedded" or source.startswith(("kaggle:", "https://"))
    return source if elsewhere else str(Path(source).resolve())
