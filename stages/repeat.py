"""VARIANT with several seeds -> metrics/repeat/VARIANT.json: how much results vary by chance."""

from pathlib import Path

import click

from pipeline.base.command import Command
from pipeline.base.files import write_json
from pipeline.base.params_file import read_params
from pipeline.tuning.packages import require_packages

SPLITS = Path("data/splits")
STORE = Path("data/sweep")
REPEATS = Path("metrics/repeat")


@click.command(cls=Command)
@click.argument("variant")
@click.option(
    "--seeds", default=10, show_default=True, type=click.IntRange(min=2),
    help="Number of seeds, counted up from the one in params.yaml.",
)  # fmt: skip
@click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    envvar="DASK_SCHEDULER_ADDRESS",
    help="Use the workers of this Dask scheduler instead of this machine's cores.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Local workers; default: one per core.")
def main(variant: str, seeds: int, scheduler: str | None, workers: int | None) -> None:
    """Train VARIANT with several seeds and report how much its validation accuracy varies.

    A seed determines the initial weights and the order of batches; the images stay the same.
    """
    require_packages()
    from pipeline.tuning.plan import RepeatPlan
    from pipeline.tuning.repeats import repeat_statistics
    from pipeline.tuning.run import run_trials

    settings = read_params()
    plan = RepeatPlan.of(settings, variant, seeds)
    trials = run_trials(plan, SPLITS, STORE, click.echo, scheduler, workers)
    found = repeat_statistics(trials)
    write_json(REPEATS / f"{variant}.json", {"variant": variant, **found})
    click.echo(
        f"{variant}: mean validation accuracy of {found['repeats']} seeds {found['mean']:.2%} "
        f"(95 % interval {found['low']:.2%} to {found['high']:.2%}), "
        f"standard deviation {found['standard_deviation']:.2%}, {found['failed']} failed"
    )


if __name__ == "__main__":
    main()
