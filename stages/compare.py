"""Stage compare: all variants -> metrics/summary.json, plots/history.csv, plots/*.png."""

from pathlib import Path

import click
import pandas as pd

from pipeline.command import Command
from pipeline.errors import DataError
from pipeline.figures.curves import curves_figure
from pipeline.figures.style import save_png
from pipeline.files import read_json, whole_file, write_json
from pipeline.params import read_params

METRICS = Path("metrics")
PLOTS = Path("plots")


@click.command(cls=Command)
def main() -> None:
    """Put the variants of params.yaml side by side; files of other variants are left out."""
    settings = read_params()
    summary = {name: read_json(METRICS / f"{name}.json") for name in settings.variants}
    histories = {name: _read_history(PLOTS / f"history/{name}.csv") for name in settings.variants}
    with whole_file(PLOTS / "history.csv") as temporary:
        table = pd.concat(histories, names=["variant"]).reset_index(level="variant")
        table.to_csv(temporary, index=False)
    losses = {name: variant.loss for name, variant in settings.variants.items()}
    save_png(curves_figure(histories, losses, "cost"), PLOTS / "cost.png")
    save_png(curves_figure(histories, losses, "accuracy"), PLOTS / "accuracy.png")
    write_json(METRICS / "summary.json", summary)


def _read_history(path: Path) -> pd.DataFrame:
    try:
        # As text where it was text: copied into one file, numbers stay letter for letter.
        return pd.read_csv(path, dtype={"split": str, "epoch": int})
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


if __name__ == "__main__":
    main()
