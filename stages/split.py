"""Stage split: data/parquet/ -> data/splits/{train,validation,test}.parquet, normalised."""

from pathlib import Path

import click

from pipeline.base.command import Command
from pipeline.base.files import whole_folder
from pipeline.base.params_file import read_params
from pipeline.datasets.examples import NormalizedImages
from pipeline.datasets.images import ImageSet
from pipeline.datasets.normalization import fit_normalization
from pipeline.datasets.parquet import open_images, write_examples
from pipeline.datasets.reorder import Scratch

PARQUET = Path("data/parquet")
SPLITS = Path("data/splits")


@click.command(cls=Command)
def main() -> None:
    """Set a validation part apart and normalise by the statistics of the training part."""
    settings = read_params()
    images = open_images(PARQUET / "train.parquet")
    test = open_images(PARQUET / "test.parquet")
    with whole_folder(SPLITS) as folder, Scratch(folder) as scratch:
        train, validation = scratch.split(
            images,
            settings.chosen_dataset.validation_size,
            settings.seed,
            f"datasets.{settings.dataset}.validation_size",
        )
        normalization = fit_normalization(train.blocks(), settings.normalize)
        parts: dict[str, ImageSet] = {"train": train, "validation": validation, "test": test}
        for name, part in parts.items():
            examples = NormalizedImages(part, images.description, normalization)
            write_examples(folder / f"{name}.parquet", examples)
    for name, part in parts.items():
        click.echo(f"{name}: {len(part)} images")


if __name__ == "__main__":
    main()
