"""The curves of all variants so far: from checkpoints while they train, else from their results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.errors import DataError
from pipeline.base.params import VariantSettings
from pipeline.base.tables import read_table
from pipeline.base.unpack import UNZIP_ERRORS
from pipeline.datasets.parquet import open_examples
from pipeline.nn.checkpoint import FOLDER, read_state
from pipeline.nn.training import EpochReport

TRAINING = Path("data/splits/train.parquet")
HISTORY = Path("plots/history")
POINTS = 200
"""Maximum number of epochs per curve."""


def read_curves(project: Path, variants: Mapping[str, VariantSettings]) -> list[dict[str, Any]]:
    """Return the curves of each variant, those in training first.

    A curve has the variant's name, its `state` ("training", "trained" or "waiting"), its number of
    epochs so far (`done`) and in all (`epochs`), and for each split the cost and accuracy of the
    epochs listed in `epoch`.
    """
    try:
        images = len(open_examples(project / TRAINING))
    except DataError:  # not made yet
        images = None
    found = []
    for name, settings in variants.items():
        if images is not None:
            settings = settings.on(min(images, settings.train_limit or images))
        found.append(_curves(project, name, settings.epochs))
    return sorted(found, key=lambda curve: curve["state"] != "training")


def _curves(project: Path, variant: str, epochs: int) -> dict[str, Any]:
    reports = _running(project / FOLDER / variant)
    if reports:
        columns = {
            split: [(getattr(one, split).cost, getattr(one, split).accuracy) for one in reports]
            for split in ("train", "validation")
        }
        return _curve(variant, "training", epochs, columns)
    try:
        table = read_table(project / HISTORY / f"{variant}.csv", text=("split",))
        rows = {split: table["split"] == split for split in ("train", "validation")}
        columns = {
            split: list(
                zip(table["cost"][of].tolist(), table["accuracy"][of].tolist(), strict=True)
            )
            for split, of in rows.items()
        }
    except (DataError, KeyError):  # not there yet, or half removed
        return _curve(variant, "waiting", epochs, {"train": [], "validation": []})
    return _curve(variant, "trained", epochs, columns)


def _running(folder: Path) -> tuple[EpochReport, ...]:
    """Return the reports of the newest checkpoint, or none if there is no whole one."""
    try:
        newest = max(folder.glob("*.npz"), key=lambda path: path.stat().st_mtime_ns)
        return read_state(newest).reports
    except (OSError, TypeError, *UNZIP_ERRORS):  # none, or removed in between
        return ()


def _curve(
    variant: str, state: str, epochs: int, columns: Mapping[str, list[tuple[float, float]]]
) -> dict[str, Any]:
    done = len(columns["train"])
    kept = np.unique(np.linspace(0, done - 1, min(done, POINTS)).round().astype(int)).tolist()
    return {
        "variant": variant,
        "state": state,
        "done": done,
        "epochs": epochs,
        "epoch": [index + 1 for index in kept],
    } | {
        f"{split}_{measure}": [rows[index][place] for index in kept]
        for split, rows in columns.items()
        for place, measure in enumerate(("cost", "accuracy"))
    }
