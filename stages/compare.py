"""Stage compare: all variants -> metrics/summary.json, plots/{history.csv,*.png,*.webp,best/*}."""

from pathlib import Path
from typing import Any

import click

from pipeline.base.command import Command
from pipeline.base.files import (
    copy_file,
    read_json,
    whole_folder,
    write_json,
)
from pipeline.base.params_file import read_params
from pipeline.base.tables import read_table, write_table
from pipeline.figures.curves import curves_figure, together_figure
from pipeline.figures.learning import learning_frames, save_animation
from pipeline.figures.style import save_png
from pipeline.nn.snapshot_file import load_moments

VARIANTS = Path("metrics/variants")
SUMMARY = Path("metrics/summary.json")
PLOTS = Path("plots")
SHOWN = ("architecture", "forward", "mistakes")
"""Figures copied from the variant with the best validation accuracy."""


@click.command(cls=Command)
def main() -> None:
    """Compare the variants of params.yaml; files of other variants are ignored."""
    settings = read_params()
    summary = {name: read_json(VARIANTS / f"{name}.json") for name in settings.variants}
    histories = {
        name: read_table(PLOTS / f"history/{name}.csv", text=("split",))
        for name in settings.variants
    }
    together: dict[str, list[Any]] = {
        "variant": [name for name, of in histories.items() for _ in of["epoch"]]
    }
    losses = {name: variant.loss for name, variant in settings.variants.items()}
    together["loss"] = [losses[name] for name in together["variant"]]
    for column in ("split", "epoch", "cost", "accuracy"):
        together[column] = [value for of in histories.values() for value in of[column]]
    data = settings.dataset
    figures = {"together": together_figure(histories, f"Validation accuracy on {data}")}
    for measure in ("cost", "accuracy"):
        title = f"{measure.capitalize()} during training on {data} (orange: last validation value)"
        figures[measure] = curves_figure(histories, losses, measure, title)
    best = max(summary, key=lambda name: float(summary[name]["validation_accuracy"]))
    frames = learning_frames(
        load_moments(PLOTS / f"snapshots/{best}.npz"), f"{best}: its first layer while it learns"
    )
    write_table(PLOTS / "history.csv", together)
    for name, figure in figures.items():
        save_png(figure, PLOTS / f"{name}.png")
    save_animation(PLOTS / "learning.webp", frames)
    with whole_folder(PLOTS / "best") as folder:
        for name in SHOWN:
            copy_file(PLOTS / f"figures/{best}/{name}.png", folder / f"{name}.png")
    write_json(SUMMARY, summary)


if __name__ == "__main__":
    main()
