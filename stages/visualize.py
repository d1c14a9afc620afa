"""Stage visualize: models/VARIANT.npz and its history -> plots/figures/VARIANT/*.png."""

from pathlib import Path

import click

from pipeline.base.command import Command, variant_argument
from pipeline.base.files import whole_folder
from pipeline.base.params_file import read_params
from pipeline.base.tables import read_table
from pipeline.datasets.parquet import read_examples
from pipeline.figures.gallery import variant_figures
from pipeline.figures.style import save_png
from pipeline.nn.model_file import load_model
from pipeline.nn.prediction import check_fits, predict_probabilities

PLOTS = Path("plots")


@click.command(cls=Command)
@variant_argument
def main(variant: str) -> None:
    """Draw the architecture, passes, training and results of VARIANT."""
    # NumPy is imported after `pipeline`, which reports it if NumPy cannot be used.
    from numpy.random import default_rng

    settings = read_params()
    settings.variant(variant)
    model = load_model(Path(f"models/{variant}.npz"))
    test = read_examples(Path("data/splits/test.parquet"))
    check_fits(model, test)
    probabilities = predict_probabilities(model, test.inputs)
    history = read_table(PLOTS / f"history/{variant}.csv", text=("split",))
    norms = read_table(PLOTS / f"norms/{variant}.csv")
    figures = variant_figures(
        model, test, probabilities, history, norms, default_rng(settings.seed)
    )
    with whole_folder(PLOTS / f"figures/{variant}") as folder:
        for name, figure in figures.items():
            save_png(figure, folder / f"{name}.png")
    click.echo(f"{variant}: {len(figures)} figures")


if __name__ == "__main__":
    main()
