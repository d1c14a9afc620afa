"""Compare the speed of training with PyTorch, scikit-learn and loops in NumPy.

    python -m benchmarks.training [--data FOLDER]

Everything is measured in one run: contestants take turns, each in its own process. A complete run
writes results.json and results.png next to this file, and the tables in docs/speed.md. A quick run,
or a run of some variants or contestants only, writes to the folder --output, or only prints.
"""

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks.chart import draw_chart
from benchmarks.contestants import CONTESTANTS
from benchmarks.data import FULL, FULL_DATA, check_measurable, is_plain
from benchmarks.machine import BUSY, ROOT, describe_machine
from benchmarks.measure import measure_everything
from benchmarks.table import check_place, put_in_place, render
from pipeline.base.command import Command, warn
from pipeline.base.errors import SettingsError
from pipeline.base.files import write_json
from pipeline.base.params_file import read_params

HERE, PAGE = Path(__file__).parent, ROOT / "docs" / "speed.md"


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split a comma-separated list."""
    return tuple(name.strip() for name in value.split(",")) if value else ()


@click.command(cls=Command)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with the IDX files of MNIST. Default: ../shared/data/mnist next to the repository "
    "if it exists, else the embedded sample of 5,000 digits.",
)
@click.option("--variants", callback=names, help="Comma-separated names; default: the plain ones.")
@click.option("--contestants", callback=names, help="Comma-separated names; all by default.")
@click.option(
    "--without",
    callback=names,
    help="Comma-separated contestants to leave out; pytorch stands for all pytorch-*.",
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--quick", is_flag=True, help="Measure one short round on the embedded sample.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for the results.")
def main(
    data: Path | None,
    variants: tuple[str, ...],
    contestants: tuple[str, ...],
    without: tuple[str, ...],
    rounds: int,
    seconds: float,
    *,
    quick: bool,
    output: Path | None,
) -> None:
    """Compare the speed of training with other libraries, in alternating rounds of one run."""
    settings = read_params(ROOT / "params.yaml")
    complete = not (quick or variants or contestants or without)
    variants = variants or tuple(
        name for name, variant in settings.variants.items() if is_plain(variant)
    )
    for variant in variants:
        check_measurable(f"variants.{variant}", settings.variant(variant))
    contestants = choose_contestants(contestants, without)
    if complete and output is None:
        check_place(PAGE)
    if quick:
        rounds, seconds = 1, 0.02
    elif data is None and (FULL_DATA / FULL).is_dir():
        data = FULL_DATA / FULL
    machine = describe_machine()
    if machine["load_before"] > BUSY and not quick:
        warn(f"this machine is busy (load {machine['load_before']}): the times are not reliable")
    measured = measure_everything(
        settings, data, variants, contestants, rounds=rounds, seconds=seconds, report=click.echo
    )
    results = {"machine": machine, **measured}
    click.echo(f"\n{render(results)}\n")
    if output is None and not complete:
        click.echo("Only a complete run updates the results; --output FOLDER saves these.")
        return
    write_json((output or HERE) / "results.json", results)
    draw_chart(results, (output or HERE) / "results.png")
    if output is None:
        put_in_place(PAGE, render(results))


def choose_contestants(wanted: tuple[str, ...], without: tuple[str, ...]) -> tuple[str, ...]:
    """Return the chosen contestants, in the order of CONTESTANTS and always with `ours`.

    Raises SettingsError for an unknown name, or if PyTorch is needed and not installed.
    """
    for name in wanted:
        if name not in CONTESTANTS:
            raise SettingsError(f"contestants must be among {', '.join(CONTESTANTS)}, got {name}")
    left_out = set()
    for name in without:
        matching = {known for known in CONTESTANTS if known == name or known.startswith(f"{name}-")}
        if not matching or "ours" in matching:
            raise SettingsError(f"without must name contestants other than ours, got {name}")
        left_out |= matching
    chosen = tuple(
        name
        for name in CONTESTANTS
        if name == "ours" or (name in (wanted or CONTESTANTS) and name not in left_out)
    )
    check_installed(chosen, "--without pytorch")
    return chosen


def check_installed(contestants: Sequence[str], option: str) -> None:
    """Raise SettingsError if PyTorch is needed and not installed. option: how to do without."""
    wanted = any(name.startswith("pytorch") for name in contestants)
    if wanted and not importlib.util.find_spec("torch"):
        raise SettingsError(
            "PyTorch is not installed: run `make bench` or `pip install -e '.[bench]'`, "
            f"or leave it out with {option}"
        )


if __name__ == "__main__":
    main()
