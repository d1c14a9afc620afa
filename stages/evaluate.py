"""Stage evaluate: a model -> metrics/variants/VARIANT.json, plots/predictions/VARIANT.csv."""

from pathlib import Path

import click

from pipeline.base.command import Command, variant_argument, warn
from pipeline.base.files import write_json
from pipeline.base.params_file import read_params
from pipeline.base.tables import write_table
from pipeline.datasets.parquet import open_examples, read_examples
from pipeline.evaluation import evaluate
from pipeline.nn.devices import find_device
from pipeline.nn.model_file import load_model
from pipeline.tracking.run import track_results

SPLITS = Path("data/splits")
MODELS = Path("models")
METRICS = Path("metrics/variants")
PREDICTIONS = Path("plots/predictions")


@click.command(cls=Command)
@variant_argument
def main(variant: str) -> None:
    """Measure VARIANT on the training, validation and test images."""
    settings = read_params()
    chosen = settings.variant(variant)
    path = MODELS / f"{variant}.npz"
    model = load_model(path)
    metrics, predictions = evaluate(
        model,
        open_examples(SPLITS / "train.parquet").first(chosen.train_limit),
        read_examples(SPLITS / "validation.parquet"),
        read_examples(SPLITS / "test.parquet"),
        chosen.test_sample,
        chosen.test_shifts,
        find_device(settings.device),
    )
    write_table(PREDICTIONS / f"{variant}.csv", predictions)
    write_json(METRICS / f"{variant}.json", metrics)
    track_results(settings.tracking, model, path, metrics, predictions, warn)
    accuracy, images = metrics["test_accuracy"], metrics["test_images"]
    click.echo(f"{variant}: test accuracy {accuracy:.2%} on {images} images")


if __name__ == "__main__":
    main()
