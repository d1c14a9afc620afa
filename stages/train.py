"""Stage train: data/splits/ -> models/VARIANT.npz, plots/{history,norms}/VARIANT.csv."""

from pathlib import Path

import click
import pandas as pd

from pipeline.command import Command, variant_argument, warn
from pipeline.datasets.tables import open_examples, read_examples
from pipeline.errors import TrainingError
from pipeline.files import all_or_none, write_table
from pipeline.nn.checkpoint import Checkpoint, run_digest
from pipeline.nn.devices import find_device
from pipeline.nn.model_file import Model, save_model
from pipeline.nn.streaming import hold, training_set
from pipeline.nn.training import EpochReport, Training, make_network
from pipeline.params import read_params
from pipeline.progress import show_progress
from pipeline.tracking.run import tracked_training

SPLITS = Path("data/splits")
MODELS = Path("models")
HISTORY = Path("plots/history")
NORMS = Path("plots/norms")


@click.command(cls=Command)
@variant_argument
def main(variant: str) -> None:
    """Train VARIANT of params.yaml."""
    settings = read_params()
    chosen = settings.variant(variant)
    device = find_device(settings.device)
    examples = open_examples(SPLITS / "train.parquet").first(chosen.train_limit)
    validation = read_examples(SPLITS / "validation.parquet")
    click.echo(f"{variant}: {len(examples)} images on {device.name}")
    if chosen.train_limit and len(examples) < chosen.train_limit:
        click.echo(f"{variant}: train_limit is {chosen.train_limit}; these are all there are")
    classes = examples.description.class_names
    network, rng = make_network(chosen, len(classes), settings.seed)
    engine = device.engine(network, chosen)
    training = {
        "settings": chosen.model_dump(),
        "seed": settings.seed,
        "dataset": examples.description.dataset,
        "source": examples.description.source,
        "images": len(examples),
    }
    if settings.shuffle_buffer != "all":
        training["shuffle_buffer"] = settings.shuffle_buffer
    data = (SPLITS / "train.parquet", SPLITS / "validation.parquet")
    others = {"seed": settings.seed, "shuffle_buffer": settings.shuffle_buffer}
    checkpoint = Checkpoint(variant, run_digest(chosen, others, device.name, data), warn)
    with tracked_training(settings.tracking, variant, training, warn) as tracked:
        if tracked.place:
            click.echo(f"{variant}: tracked in {tracked.place}")
        images = training_set(engine, examples, settings.shuffle_buffer)
        run = Training(engine, chosen, images, hold(engine, validation), rng)
        checkpoint.resume(run)
        if run.reports:
            click.echo(f"{variant}: goes on after epoch {len(run.reports)}")
        try:
            epochs = tracked.follow(checkpoint.kept(run), earlier=tuple(run.reports))
            for _ in show_progress(variant, chosen.epochs, epochs):
                pass
        except TrainingError as error:
            checkpoint.remove()
            raise TrainingError(f"{variant}: {error}") from error
    model = Model(variant, network, examples.normalization, classes, training)
    path = MODELS / f"{variant}.npz"
    with all_or_none():
        save_model(path, model)
        write_table(HISTORY / f"{variant}.csv", history_table(run.reports))
        write_table(NORMS / f"{variant}.csv", norms_table(run.reports))
    checkpoint.remove()
    tracked.remember(path)


def history_table(reports: list[EpochReport]) -> pd.DataFrame:
    """Give a row a split and epoch."""
    rows = [
        (split, report.epoch, score.cost, score.accuracy)
        for split in ("train", "validation")
        for report in reports
        for score in (getattr(report, split),)
    ]
    return pd.DataFrame(rows, columns=["split", "epoch", "cost", "accuracy"])


def norms_table(reports: list[EpochReport]) -> pd.DataFrame:
    """Give a row a layer and epoch."""
    rows = [
        (layer, report.epoch, *norms)
        for report in reports
        for layer, norms in enumerate(
            zip(report.weight_norms, report.gradient_norms, strict=True), start=1
        )
    ]
    return pd.DataFrame(rows, columns=["layer", "epoch", "weight_norm", "gradient_norm"])


if __name__ == "__main__":
    main()
