"""Stage download: the chosen dataset's files -> data/raw/."""

from pathlib import Path

import click

from pipeline.command import Command, warn
from pipeline.datasets.sources import fetch
from pipeline.errors import printable
from pipeline.files import whole_folder
from pipeline.params import read_params

RAW = Path("data/raw")


@click.command(cls=Command)
def main() -> None:
    """Fetch the files of params.yaml's dataset from the first of its sources that works."""
    settings = read_params()
    dataset = settings.chosen_dataset
    with whole_folder(RAW) as folder:
        source = fetch(dataset.source, folder, checksums=dataset.checksums, report=warn)
    click.echo(f"{settings.dataset} from {printable(source)}")


if __name__ == "__main__":
    main()
