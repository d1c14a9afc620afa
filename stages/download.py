"""Stage download: the chosen dataset's files -> data/raw/."""

from pathlib import Path

import click

from pipeline.base.command import Command, warn
from pipeline.base.errors import printable
from pipeline.base.files import whole_folder
from pipeline.base.params_file import read_params
from pipeline.raw.sources import fetch

RAW = Path("data/raw")


@click.command(cls=Command)
def main() -> None:
    """Download the chosen dataset's files from the first of its sources that works."""
    settings = read_params()
    dataset = settings.chosen_dataset
    with whole_folder(RAW) as folder:
        source = fetch(
            dataset.source,
            folder,
            files=dataset.files,
            checksums=dataset.checksums,
            report=warn,
        )
    click.echo(f"{settings.dataset} from {printable(source)}")


if __name__ == "__main__":
    main()
