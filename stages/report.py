"""Stage report: results of all stages -> report/index.html, report/draw.html."""

import json
import zipfile
from pathlib import Path
from typing import Any

import click
import pandas as pd

from pipeline.command import Command
from pipeline.datasets.tables import read_examples
from pipeline.errors import DataError
from pipeline.files import read_json, whole_folder
from pipeline.nn.model_file import load_model
from pipeline.params import read_params
from pipeline.report.drawing import draw_page
from pipeline.report.page import ReportContent, Variant, report_page

SPLITS = Path("data/splits")
MODELS = Path("models")
SUMMARY = Path("metrics/summary.json")
PLOTS = Path("plots")
REPORT = Path("report")


@click.command(cls=Command)
def main() -> None:
    """Put everything about the variants of params.yaml on one page, and the models on another."""
    settings = read_params()
    summary = read_json(SUMMARY)
    models = [load_model(MODELS / f"{name}.npz") for name in settings.variants]
    content = ReportContent(
        settings,
        {
            split: read_examples(SPLITS / f"{split}.parquet")
            for split in ("train", "validation", "test")
        },
        _read_table(PLOTS / "history.csv", "variant", "split"),
        {
            name: Variant(
                settings.variant(name),
                _metrics(summary, name),
                _read_table(PLOTS / f"predictions/{name}.csv", "label", "prediction"),
                _figures(name),
                _versions(MODELS / f"{name}.npz"),
            )
            for name in settings.variants
        },
    )
    with whole_folder(REPORT) as folder:
        (folder / "index.html").write_text(report_page(content), encoding="utf-8")
        (folder / "draw.html").write_text(draw_page(models), encoding="utf-8")
    click.echo(f"{REPORT}/index.html: {len(models)} variants; {REPORT}/draw.html")


def _metrics(summary: dict[str, Any], variant: str) -> dict[str, Any]:
    if variant not in summary:
        raise DataError(f"{SUMMARY} has no {variant}; `dvc repro` brings it up to date")
    metrics: dict[str, Any] = summary[variant]
    return metrics


def _figures(variant: str) -> dict[str, bytes]:
    folder = PLOTS / "figures" / variant
    figures = {path.stem: path.read_bytes() for path in sorted(folder.glob("*.png"))}
    if not figures:
        raise DataError(f"{folder} has no figures")
    return figures


def _versions(model: Path) -> dict[str, str]:
    with zipfile.ZipFile(model) as archive:
        versions: dict[str, str] = json.loads(archive.read("model.json")).get("versions", {})
    return versions


def _read_table(path: Path, *names: str) -> pd.DataFrame:
    """Read a CSV table whose columns `names` are text, even where it looks like numbers or NA."""
    try:
        return pd.read_csv(path, dtype=dict.fromkeys(names, str), keep_default_na=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DataError(f"{path} is not a CSV table: {error}") from error


if __name__ == "__main__":
    main()
