"""Stage convert: data/raw/ in any format -> data/parquet/{train,test}.parquet."""

from pathlib import Path

import click

from pipeline.base.command import Command, warn
from pipeline.base.errors import SettingsError
from pipeline.base.files import whole_folder
from pipeline.base.params_file import read_params
from pipeline.datasets.examples import Description
from pipeline.datasets.parquet import write_images
from pipeline.datasets.reorder import Scratch
from pipeline.raw.changes import changes_of
from pipeline.raw.contents import Reading
from pipeline.raw.find import open_raw
from pipeline.raw.names import TEST, TRAIN
from pipeline.raw.plausible import check_plausible
from pipeline.raw.published import describe, differences

RAW = Path("data/raw")
PARQUET = Path("data/parquet")


@click.command(cls=Command)
def main() -> None:
    """Convert the raw files to Parquet and compare them with the published sets."""
    settings = read_params()
    dataset = settings.chosen_dataset
    classes, changes = tuple(dataset.class_names), changes_of(settings.dataset, dataset)
    raw, warnings = open_raw(RAW, dataset.files)
    with whole_folder(PARQUET) as folder, Scratch(folder) as scratch:
        reading = Reading(warn, classes)
        splits = {
            split: scratch.store(changes.made(split, files.blocks(reading)))
            for split, files in raw.items()
        }
        for split, data in splits.items():
            files = raw[split].names[0]
            warnings += check_plausible(settings.dataset, split, data, dataset, files)
            warnings += differences(settings.dataset, split, data)
        for warning in warnings:
            warn(warning)
        sources = {split: describe(data) for split, data in splits.items()}
        if TEST not in splits:
            if dataset.test_size is None:
                raise SettingsError(
                    f"datasets.{settings.dataset}.test_size is required, "
                    "because its source has no labelled test set, got null"
                )
            splits[TRAIN], splits[TEST] = scratch.split(
                splits[TRAIN],
                dataset.test_size,
                settings.seed,
                f"datasets.{settings.dataset}.test_size",
            )
            sources[TEST] = sources[TRAIN]
        for split, data in splits.items():
            description = Description(
                settings.dataset, classes, sources[split], dataset.pictures, changes.described()
            )
            write_images(folder / f"{split}.parquet", data, description)
    for split, data in splits.items():
        click.echo(f"{split}: {len(data)} images; source: {sources[split]}")


if __name__ == "__main__":
    main()
