"""Stage evaluate: models/VARIANT.npz -> metrics/VARIANT.json, plots/predictions/VARIANT.csv."""

from pathlib import Path

import click

from pipeline.command import Command, variant_argument, warn
from pipeline.datasets.tables import open_examples, read_examples
from pipeline.evaluation import evaluate
from pipeline.files import all_or_none, write_json, write_table
from pipeline.nn.devices import find_device
from pipeline.nn.model_file import load_model
from pipeline.params import read_params
from pipeline.tracking.run import track_results

SPLITS = Path("data/splits")
MODELS = Path("models")
METRICS = Path("metrics")
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
        find_device(settings.device),
    )
    with all_or_none():
        write_table(PREDICTIONS / f"{variant}.csv", predictions)
        write_json(METRICS / f"{variant}.json", metrics)
    track_results(settings.tracking, model, path, metrics, predictions, warn)
    click.echo(f"{variant}: {metrics['test_accuracy']:.2%} of {metrics['test_images']} test images")


if __name__ == "__main__":
    main()
