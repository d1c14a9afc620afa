"""Stage convert: data/raw/ in IDX or CSV -> data/parquet/{train,test}.parquet."""

from pathlib import Path

import click

from pipeline.command import Command, warn
from pipeline.datasets.published import describe, differences
from pipeline.datasets.raw import TEST, TRAIN, read_raw
from pipeline.datasets.splitting import split_stratified
from pipeline.datasets.tables import Description, write_images
from pipeline.errors import SettingsError
from pipeline.files import whole_folder
from pipeline.params import read_params

RAW = Path("data/raw")
PARQUET = Path("data/parquet")


@click.command(cls=Command)
def main() -> None:
    """Turn the raw files into Parquet, checked against what was published."""
    settings = read_params()
    dataset = settings.chosen_dataset
    splits, warnings = read_raw(RAW)
    for split, data in splits.items():
        data.check(f"{settings.dataset} {split} set", len(dataset.class_names))
        warnings += differences(settings.dataset, split, data)
    for warning in warnings:
        warn(warning)
    sources = {split: describe(data) for split, data in splits.items()}
    if TEST not in splits:
        if dataset.test_size is None:
            raise SettingsError(
                f"datasets.{settings.dataset}.test_size is required, "
                "for its source has no labelled test set, got null"
            )
        splits[TRAIN], splits[TEST] = split_stratified(
            splits[TRAIN],
            dataset.test_size,
            settings.seed,
            f"datasets.{settings.dataset}.test_size",
        )
    with whole_folder(PARQUET) as folder:
        for split, data in splits.items():
            # A test set taken from the training set shares its source.
            source = sources.get(split, sources[TRAIN])
            description = Description(settings.dataset, tuple(dataset.class_names), source)
            write_images(folder / f"{split}.parquet", data, description)
            click.echo(f"{split}: {len(data)} images; source: {source}")


if __name__ == "__main__":
    main()
