"""Stage compare: all variants -> metrics/summary.json, plots/history.csv, plots/{*,best/*}.png."""

from pathlib import Path

import click
import pandas as pd

from pipeline.command import Command
from pipeline.figures.curves import curves_figure, together_figure
from pipeline.figures.style import save_png
from pipeline.files import (
    all_or_none,
    copy_file,
    read_json,
    read_table,
    whole_folder,
    write_json,
    write_table,
)
from pipeline.params import read_params

METRICS = Path("metrics")
PLOTS = Path("plots")
SHOWN = ("architecture", "forward", "mistakes")
"""Figures that are kept of the variant that is best on validation images."""


@click.command(cls=Command)
def main() -> None:
    """Put the variants of params.yaml side by side; files of other variants are left out."""
    settings = read_params()
    summary = {name: read_json(METRICS / f"{name}.json") for name in settings.variants}
    histories = {name: read_table(PLOTS / f"history/{name}.csv") for name in settings.variants}
    together = pd.concat(histories, names=["variant"]).reset_index(level="variant")
    losses = {name: variant.loss for name, variant in settings.variants.items()}
    data = settings.dataset
    figures = {"together": together_figure(histories, f"Validation accuracy on {data}")}
    for measure in ("cost", "accuracy"):
        title = f"{measure.capitalize()} through training on {data} (last validation in orange)"
        figures[measure] = curves_figure(histories, losses, measure, title)
    best = max(summary, key=lambda name: float(summary[name]["validation_accuracy"]))
    with all_or_none():
        write_table(PLOTS / "history.csv", together)
        for name, figure in figures.items():
            save_png(figure, PLOTS / f"{name}.png")
        with whole_folder(PLOTS / "best") as folder:
            for name in SHOWN:
                copy_file(PLOTS / f"figures/{best}/{name}.png", folder / f"{name}.png")
        write_json(METRICS / "summary.json", summary)


if __name__ == "__main__":
    main()
