"""Compare the conversion of a CSV file to Parquet with `pandas.read_csv` of the same file.

    python -m benchmarks.convert mnist_train.csv [--repeats 7]

The two run in turns. The medians and their ratio are printed.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
import pandas as pd
import pyarrow as pa

from pipeline.datasets.examples import Description
from pipeline.datasets.parquet import write_images
from pipeline.datasets.reorder import Scratch
from pipeline.raw.contents import Reading
from pipeline.raw.csv import csv_blocks
from pipeline.raw.published import describe


def seconds(work: Callable[[], object]) -> float:
    """Return the time of one call in seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@click.command()
@click.argument("path", type=click.Path(path_type=Path, exists=True))
@click.option("--repeats", default=7, show_default=True)
def main(path: Path, repeats: int) -> None:
    """Compare the conversion of PATH with pandas."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "train.parquet"

        def convert() -> None:
            with Scratch(Path(folder)) as scratch:
                data = scratch.store(csv_blocks(path, Reading(print)))
                write_images(target, data, Description("csv", (), describe(data)))

        works: dict[str, Callable[[], object]] = {
            "pandas.read_csv": lambda: pd.read_csv(path),
            "csv_blocks": lambda: list(csv_blocks(path, Reading(print))),
            "convert to Parquet": convert,
        }
        times: dict[str, list[float]] = {name: [] for name in works}
        for _ in range(repeats):
            for name, work in works.items():
                times[name].append(seconds(work))
    rival = statistics.median(times["pandas.read_csv"])
    print(f"{path.name}, {path.stat().st_size:,} bytes; medians of {repeats}; ", end="")
    print(f"pandas {pd.__version__}, pyarrow {pa.__version__}, {pa.cpu_count()} threads")
    for name, values in times.items():
        median = statistics.median(values)
        spread = f"{min(values):.2f} to {max(values):.2f}"
        print(f"{name:18} {median:.2f} s ({spread}), {rival / median:.1f}x pandas")


if __name__ == "__main__":
    main()
