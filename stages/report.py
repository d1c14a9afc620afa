"""Stage report: results of all stages -> report/index.html, report/draw.html."""

import hashlib
from pathlib import Path
from typing import Any

import click

from pipeline.base.command import Command
from pipeline.base.errors import DataError
from pipeline.base.files import read_json, whole_folder
from pipeline.base.params_file import read_params
from pipeline.base.tables import read_table
from pipeline.datasets.parquet import open_examples
from pipeline.nn.model_file import Model, load_model
from pipeline.nn.prediction import check_fits
from pipeline.nn.snapshot_file import load_moments
from pipeline.report.drawing import draw_page, pictures_of
from pipeline.report.page import ReportContent, Studies, Variant, report_page

SPLITS = Path("data/splits")
MODELS = Path("models")
SUMMARY = Path("metrics/summary.json")
PLOTS = Path("plots")
STUDIES = Path("metrics/repeat")
REPORT = Path("report")


@click.command(cls=Command)
def main() -> None:
    """Write one page with all results of the variants of params.yaml, and another to draw on."""
    settings = read_params()
    summary = read_json(SUMMARY)
    models = {name: load_model(MODELS / f"{name}.npz") for name in settings.variants}
    splits = {
        split: open_examples(SPLITS / f"{split}.parquet")
        for split in ("train", "validation", "test")
    }
    for model in models.values():
        check_fits(model, splits["test"])
    content = ReportContent(
        settings,
        splits,
        read_table(PLOTS / "history.csv", text=("variant", "loss", "split")),
        {
            name: Variant(
                settings.variant(name),
                _metrics(summary, name),
                read_table(PLOTS / f"predictions/{name}.csv", text=("label", "prediction")),
                _figures(name),
                models[name].versions,
                load_moments(PLOTS / f"snapshots/{name}.npz"),
            )
            for name in settings.variants
        },
        {split: _digest(SPLITS / f"{split}.parquet") for split in ("train", "validation", "test")},
        _studies(settings.dataset),
    )
    with whole_folder(REPORT) as folder:
        (folder / "index.html").write_text(report_page(content), encoding="utf-8")
        (folder / "draw.html").write_text(
            draw_page(_best_first(models, summary), pictures_of(content.splits["test"])),
            encoding="utf-8",
        )
    click.echo(f"{REPORT}/index.html: {len(models)} variants; {REPORT}/draw.html")


def _metrics(summary: dict[str, Any], variant: str) -> dict[str, Any]:
    if variant not in summary:
        raise DataError(f"{SUMMARY} has no {variant}; `dvc repro` brings it up to date")
    metrics: dict[str, Any] = summary[variant]
    return metrics


def _best_first(models: dict[str, Model], summary: dict[str, Any]) -> list[Model]:
    """Return the model with the best validation accuracy, then the others by name."""
    best = max(models, key=lambda name: float(summary[name]["validation_accuracy"]))
    return [models[best], *(model for name, model in models.items() if name != best)]


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _studies(dataset: str) -> Studies:
    """Return what sweeps and repeats have left for a dataset, by the names of their files."""
    found: dict[str, list[dict[str, Any]]] = {
        kind: [] for kind in ("repeats", "pairs", "folds", "sweeps")
    }
    for path in sorted(STUDIES.glob("*.json")):
        study = read_json(path)
        if study.get("dataset") == dataset:
            found[_kind(path)].append(study)
    return Studies(**found)


def _kind(path: Path) -> str:
    if path.stem.endswith(".sweep"):
        return "sweeps"
    if path.stem.endswith(".folds"):
        return "folds"
    return "pairs" if ".vs." in path.stem else "repeats"


def _figures(variant: str) -> dict[str, bytes]:
    folder = PLOTS / "figures" / variant
    figures = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    if not figures:
        raise DataError(f"{folder} has no figures")
    return figures


if __name__ == "__main__":
    main()
