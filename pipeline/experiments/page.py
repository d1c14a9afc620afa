"""The page of experiments: a sortable table, curves and confusion matrices, for each variant."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.base.tables import Table
from pipeline.experiments.records import Experiment
from pipeline.report.templates import environment

POINTS = 120
"""Maximum number of epochs shown per curve."""
METRICS = ("test_accuracy", "validation_accuracy", "train_accuracy", "test_loss", "parameters")
_HERE = Path(__file__).parent


def experiments_page(experiments: Sequence[Experiment], left_out: Sequence[str]) -> str:
    """Return the page, which needs no other file. The same records give the same bytes.

    The baseline is the second experiment, which is the commit after the workspace, if there is one.
    left_out: names of experiments without results, which the page only lists.
    """
    baseline = experiments[min(1, len(experiments) - 1)]
    variants = sorted({name for experiment in experiments for name in experiment.metrics})
    pages = environment(_HERE)
    tables = {variant: table_of(experiments, baseline, variant) for variant in variants}
    return pages.get_template("page.html.j2").render(
        baseline=baseline.name,
        left_out=left_out,
        variants=variants,
        shown=_most_changed(tables),
        tables=tables,
        data={
            "baseline": experiments.index(baseline),
            "names": [experiment.name for experiment in experiments],
            "curves": {v: [_curve(e, v) for e in experiments] for v in variants},
            "confusion": {
                v: [_confusion(e.predictions.get(v)) for e in experiments] for v in variants
            },
        },
        css=(_HERE / "page.css").read_text(encoding="utf-8"),
        script=(_HERE / "page.js").read_text(encoding="utf-8"),
    )


def table_of(
    experiments: Sequence[Experiment], baseline: Experiment, variant: str
) -> dict[str, Any]:
    """Return the table of a variant: the settings that differ, and a row per experiment.

    A row has the experiment's number, the values of those settings, the metrics, and the difference
    in test accuracy to the baseline with its 95 % interval.
    """
    settings = differing(experiments, variant)
    rows = []
    for number, experiment in enumerate(experiments):
        metrics = experiment.metrics.get(variant)
        if metrics is None:
            continue
        rows.append(
            {
                "number": number,
                "name": experiment.name,
                "parent": experiment.parent,
                "created": experiment.created,
                "is_baseline": experiment is baseline,
                "settings": [experiment.settings.get(key) for key in settings],
                "metrics": {key: metrics.get(key) for key in METRICS},
                "low": metrics.get("test_accuracy_low"),
                "high": metrics.get("test_accuracy_high"),
                "difference": difference(experiment, baseline, variant),
            }
        )
    prefix = f"variants.{variant}."
    return {"settings": [key.removeprefix(prefix) for key in settings], "rows": rows}


def differing(experiments: Sequence[Experiment], variant: str) -> list[str]:
    """Return the settings that differ between experiments and can affect a variant."""
    keys = dict.fromkeys(key for experiment in experiments for key in experiment.settings)
    own = f"variants.{variant}."
    kept = [
        key
        for key in keys
        if key.startswith(own)
        or (not key.startswith(("variants.", "sweep.", "datasets.")) and key != "tracking")
        or any(key.startswith(f"datasets.{e.settings.get('dataset')}.") for e in experiments)
    ]
    return [key for key in kept if len({repr(e.settings.get(key)) for e in experiments}) > 1]


def difference(
    experiment: Experiment, baseline: Experiment, variant: str
) -> tuple[float, float | None] | None:
    """Return the difference in test accuracy to the baseline, and half of its 95 % interval.

    The interval is that of paired answers on the same test images (McNemar's table): the standard
    error is sqrt(b + c - (b - c)^2 / n) / n, with b and c images that only one of both gets right.
    Source: Agresti, Categorical Data Analysis, 3rd edition, section 11.1.1. It is None if the
    predictions of both are not at hand, or are of other images. Return None if there is nothing to
    compare.
    """
    own, other = experiment.metrics.get(variant), baseline.metrics.get(variant)
    if experiment is baseline or own is None or other is None:
        return None
    if "test_accuracy" not in own or "test_accuracy" not in other:
        return None
    change = own["test_accuracy"] - other["test_accuracy"]
    tables = [e.predictions.get(variant) for e in (experiment, baseline)]
    if tables[0] is None or tables[1] is None:
        return change, None
    if not np.array_equal(tables[0]["label"], tables[1]["label"]):
        return change, None
    right = [table["label"] == table["prediction"] for table in tables if table is not None]
    only_own, only_other = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    count = len(right[0])
    variance = only_own + only_other - (only_own - only_other) ** 2 / count
    return change, 1.96 * math.sqrt(variance) / count


def _most_changed(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the variant whose test accuracies differ most: the one that was worked on."""

    def spread(variant: str) -> float:
        values = [row["metrics"]["test_accuracy"] for row in tables[variant]["rows"]]
        known = [value for value in values if value is not None]
        return max(known) - min(known) if known else -1.0

    return max(tables, key=spread)


def _curve(experiment: Experiment, variant: str) -> dict[str, list[Any]] | None:
    """Return epochs and validation accuracies, thinned, or None."""
    history = experiment.history
    if history is None:
        return None
    rows = np.flatnonzero((history["variant"] == variant) & (history["split"] == "validation"))
    if not len(rows):
        return None
    kept = rows[np.unique(np.linspace(0, len(rows) - 1, POINTS).round().astype(int))]
    return {
        "epoch": history["epoch"][kept].tolist(),
        "accuracy": history["accuracy"][kept].tolist(),
    }


def _confusion(predictions: Table | None) -> dict[str, Any] | None:
    """Return the classes, and the counts of each pair of true and predicted class."""
    if predictions is None:
        return None
    pairs = predictions["label"], predictions["prediction"]
    classes = np.unique(np.concatenate(pairs))
    counts = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(counts, tuple(np.searchsorted(classes, part) for part in pairs), 1)
    return {"classes": classes.tolist(), "counts": counts.tolist()}
