"""Stage split: data/parquet/ -> data/splits/{train,validation,test}.parquet, normalised."""

from pathlib import Path

import click

from pipeline.command import Command
from pipeline.datasets.splitting import fit_normalization, split_stratified
from pipeline.datasets.tables import Examples, read_images, write_examples
from pipeline.files import whole_folder
from pipeline.params import read_params

PARQUET = Path("data/parquet")
SPLITS = Path("data/splits")


@click.command(cls=Command)
def main() -> None:
    """Set a validation part apart and normalise all parts by the training part's statistics."""
    settings = read_params()
    images, description = read_images(PARQUET / "train.parquet")
    test, _ = read_images(PARQUET / "test.parquet")
    train, validation = split_stratified(
        images,
        settings.chosen_dataset.validation_size,
        settings.seed,
        f"datasets.{settings.dataset}.validation_size",
    )
    normalization = fit_normalization(train.images, settings.normalize)
    with whole_folder(SPLITS) as folder:
        for name, part in (("train", train), ("validation", validation), ("test", test)):
            inputs = normalization.apply(part.images)
            examples = Examples(inputs, part.labels, description, normalization)
            write_examples(folder / f"{name}.parquet", examples)
            click.echo(f"{name}: {len(part)} images")


if __name__ == "__main__":
    main()
