"""Stage split: data/parquet/ -> data/splits/{train,validation,test}.parquet, normalised."""

from pathlib import Path

import click

from pipeline.command import Command
from pipeline.datasets.images import ImageSet
from pipeline.datasets.scratch import Scratch
from pipeline.datasets.splitting import fit_normalization_to_blocks
from pipeline.datasets.tables import NormalizedImages, open_images, write_examples
from pipeline.files import whole_folder
from pipeline.params import read_params

PARQUET = Path("data/parquet")
SPLITS = Path("data/splits")


@click.command(cls=Command)
def main() -> None:
    """Set a validation part apart and normalise all parts by the training part's statistics."""
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
        normalization = fit_normalization_to_blocks(train.blocks(), settings.normalize)
        parts: dict[str, ImageSet] = {"train": train, "validation": validation, "test": test}
        for name, part in parts.items():
            examples = NormalizedImages(part, images.description, normalization)
            write_examples(folder / f"{name}.parquet", examples)
    for name, part in parts.items():
        click.echo(f"{name}: {len(part)} images")


if __name__ == "__main__":
    main()
