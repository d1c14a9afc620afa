"""Stage train: data/splits/ -> models/VARIANT.npz, plots/{history,norms}/VARIANT.csv, snapshots."""

from dataclasses import replace
from pathlib import Path

import click

from pipeline.base.command import Command, variant_argument, warn
from pipeline.base.errors import TrainingError
from pipeline.base.params_file import read_params
from pipeline.base.tables import write_table
from pipeline.datasets.parquet import open_examples, read_examples
from pipeline.nn.checkpoint import Checkpoint, run_digest
from pipeline.nn.devices import find_device
from pipeline.nn.history import history_table, norms_table
from pipeline.nn.model_file import Model, save_model
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.progress import progress_shown
from pipeline.nn.reference import choose_reference
from pipeline.nn.snapshot_file import save_moments
from pipeline.nn.snapshots import Snapshots
from pipeline.nn.streaming import hold, training_set
from pipeline.nn.training import Training, make_network
from pipeline.tracking.run import tracked_training

SPLITS = Path("data/splits")
MODELS = Path("models")
HISTORY = Path("plots/history")
NORMS = Path("plots/norms")
SNAPSHOTS = Path("plots/snapshots")


@click.command(cls=Command)
@variant_argument
def main(variant: str) -> None:
    """Train VARIANT of params.yaml."""
    settings = read_params()
    chosen = settings.variant(variant)
    device = find_device(settings.device)
    examples = open_examples(SPLITS / "train.parquet").first(chosen.train_limit)
    chosen = chosen.on(len(examples))
    validation = read_examples(SPLITS / "validation.parquet")
    click.echo(f"{variant}: {len(examples)} images on {device.name}")
    if chosen.train_limit and len(examples) < chosen.train_limit:
        click.echo(f"{variant}: the set has fewer images than train_limit, {chosen.train_limit}")
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
    read = (SPLITS / "train.parquet", SPLITS / "validation.parquet", Path(__file__))
    others = {"seed": settings.seed, "shuffle_buffer": settings.shuffle_buffer}
    checkpoint = Checkpoint(variant, run_digest(chosen, others, read), warn)
    with (
        tracked_training(settings.tracking, variant, training, warn) as tracked,
        progress_shown(variant, chosen.epochs) as show,
    ):
        if tracked.place:
            click.echo(f"{variant}: tracked in {tracked.place}")
        images = training_set(engine, examples, settings.shuffle_buffer)
        snapshots = Snapshots(validation, chosen.epochs)
        run = Training(engine, chosen, images, hold(engine, validation), rng, snapshots)
        checkpoint.resume(run)
        if run.reports:
            click.echo(f"{variant}: continues after epoch {len(run.reports)}")
            tracked.log(*run.reports)
        try:
            for report in run.epochs():
                show(report)
                tracked.log(report)
                checkpoint.save(run)
        except TrainingError as error:
            checkpoint.remove()
            raise TrainingError(f"{variant}: {error}") from error
    pictures = examples.description.pictures
    model = Model(variant, network, examples.normalization, classes, training, pictures)
    predicted = predict_probabilities(model, validation.inputs).argmax(axis=1)
    model = replace(model, reference=choose_reference(examples, validation, predicted))
    path = MODELS / f"{variant}.npz"
    save_model(path, model)
    write_table(HISTORY / f"{variant}.csv", history_table(run.reports))
    write_table(NORMS / f"{variant}.csv", norms_table(run.reports))
    save_moments(SNAPSHOTS / f"{variant}.npz", snapshots.moments(run.kept))
    checkpoint.remove()
    tracked.remember(path)


if __name__ == "__main__":
    main()
