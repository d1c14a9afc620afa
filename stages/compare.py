"""Stage compare: all variants -> metrics/summary.json, plots/history.csv, plots/*.png."""

from pathlib import Path

import click
import pandas as pd

from pipeline.command import Command
from pipeline.figures.curves import curves_figure, together_figure
from pipeline.figures.style import save_png
from pipeline.files import read_json, read_table, write_json, write_table
from pipeline.params import read_params

METRICS = Path("metrics")
PLOTS = Path("plots")


@click.command(cls=Command)
def main() -> None:
    """Put the variants of params.yaml side by side; files of other variants are left out."""
    settings = read_params()
    summary = {name: read_json(METRICS / f"{name}.json") for name in settings.variants}
    histories = {name: read_table(PLOTS / f"history/{name}.csv") for name in settings.variants}
    together = pd.concat(histories, names=["variant"]).reset_index(level="variant")
    write_table(PLOTS / "history.csv", together)
    losses = {name: variant.loss for name, variant in settings.variants.items()}
    save_png(curves_figure(histories, losses, "cost"), PLOTS / "cost.png")
    save_png(curves_figure(histories, losses, "accuracy"), PLOTS / "accuracy.png")
    save_png(together_figure(histories), PLOTS / "together.png")
    write_json(METRICS / "summary.json", summary)


if __name__ == "__main__":
    main()
