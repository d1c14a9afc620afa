"""How long training takes, beside PyTorch, scikit-learn and loops in NumPy.

    python -m benchmarks.training [--data FOLDER]

Everything is measured in one run: contestants take turns, each in a process of its own. A complete
run writes results.json and results.png beside this file and the tables of README.md; a run of only
some variants or contestants, or a quick one, writes where --output says and otherwise shows.
"""

import importlib.util
from pathlib import Path

import click

from benchmarks.chart import draw_chart
from benchmarks.contestants import CONTESTANTS
from benchmarks.data import check_measurable
from benchmarks.machine import BUSY, ROOT, describe_machine
from benchmarks.measure import measure_everything
from benchmarks.table import check_place, put_in_place, render
from pipeline.command import Command, warn
from pipeline.errors import SettingsError
from pipeline.files import write_json
from pipeline.params import read_params

HERE, README = Path(__file__).parent, ROOT / "README.md"
FULL_MNIST = ROOT.parent / "shared" / "data" / "mnist"


def names(_: click.Context, __: click.Parameter, value: str | None) -> tuple[str, ...]:
    """Split a list with commas."""
    return tuple(name.strip() for name in value.split(",")) if value else ()


@click.command(cls=Command)
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder with the IDX files of MNIST. Default: ../shared/data/mnist beside the checkout "
    "if it is there, else the embedded sample of 5,000 digits.",
)
@click.option("--variants", callback=names, help="Names with commas; all by default.")
@click.option("--contestants", callback=names, help="Names with commas; all by default.")
@click.option(
    "--without", callback=names, help="Contestants to leave out; pytorch names all its own."
)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seconds", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--quick", is_flag=True, help="One short round on the embedded sample.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for results.json and .png.")
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
    """Measure training against named rivals, in one run with alternating rounds."""
    settings = read_params(ROOT / "params.yaml")
    complete = not (quick or variants or contestants or without)
    variants = variants or tuple(settings.variants)
    for variant in variants:
        check_measurable(variant, settings.variant(variant))
    contestants = choose_contestants(contestants, without)
    if complete and output is None:
        check_place(README)
    if quick:
        rounds, seconds = 1, 0.02
    elif data is None and FULL_MNIST.is_dir():
        data = FULL_MNIST
    machine = describe_machine()
    if machine["load_before"] > BUSY and not quick:
        warn(f"this machine is busy (load {machine['load_before']}): times will not be its own")
    measured = measure_everything(
        settings, data, variants, contestants, rounds=rounds, seconds=seconds, report=click.echo
    )
    results = {"machine": machine, **measured}
    click.echo(f"\n{render(results)}\n")
    if output is None and not complete:
        click.echo("Not all was measured, so nothing was written; --output FOLDER keeps it.")
        return
    write_json((output or HERE) / "results.json", results)
    draw_chart(results, (output or HERE) / "results.png")
    if output is None:
        put_in_place(README, render(results))


def choose_contestants(wanted: tuple[str, ...], without: tuple[str, ...]) -> tuple[str, ...]:
    """Return the contestants in their order; `ours` always takes part.

    Raises SettingsError for an unknown name, or where a package that one needs is not installed.
    """
    for name in wanted:
        if name not in CONTESTANTS:
            raise SettingsError(f"contestants must be among {', '.join(CONTESTANTS)}, got {name}")
    left_out = set()
    for name in without:
        matching = {known for known in CONTESTANTS if known == name or known.startswith(f"{name}-")}
        if not matching or "ours" in matching:
            raise SettingsError(f"without must name rivals, got {name}")
        left_out |= matching
    chosen = tuple(
        name
        for name in CONTESTANTS
        if name == "ours" or (name in (wanted or CONTESTANTS) and name not in left_out)
    )
    if any(name.startswith("pytorch") for name in chosen) and not importlib.util.find_spec("torch"):
        raise SettingsError(
            "PyTorch is not installed: run `make bench`, or `pip install -e '.[bench]'` here, "
            "or leave it out with --without pytorch"
        )
    return chosen


if __name__ == "__main__":
    main()
