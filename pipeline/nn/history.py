"""The reports of a run's epochs as columns of tables."""

from typing import Any

from pipeline.nn.training import EpochReport


def history_table(reports: list[EpochReport]) -> dict[str, list[Any]]:
    """Return columns with one row per split and epoch."""
    rows = [(split, report) for split in ("train", "validation") for report in reports]
    scores = [getattr(report, split) for split, report in rows]
    return {
        "split": [split for split, _ in rows],
        "epoch": [report.epoch for _, report in rows],
        "cost": [score.cost for score in scores],
        "accuracy": [score.accuracy for score in scores],
    }


def norms_table(reports: list[EpochReport]) -> dict[str, list[Any]]:
    """Return columns with one row per layer and epoch."""
    layers = range(len(reports[0].weight_norms))
    rows = [(layer, report) for report in reports for layer in layers]
    return {
        "layer": [layer + 1 for layer, _ in rows],
        "epoch": [report.epoch for _, report in rows],
        "weight_norm": [report.weight_norms[layer] for layer, report in rows],
        "gradient_norm": [report.gradient_norms[layer] for layer, report in rows],
    }
