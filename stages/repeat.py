"""VARIANT with several seeds -> metrics/repeat/VARIANT.json: how much results vary by chance.

With --folds, VARIANT on all images but one fold -> metrics/repeat/VARIANT.folds.json.
"""

from pathlib import Path

import click

from pipeline.base.command import Command
from pipeline.base.errors import DataError, SettingsError
from pipeline.base.files import write_json
from pipeline.base.params import Settings
from pipeline.base.params_file import read_params
from pipeline.datasets.parquet import open_examples
from pipeline.tuning.packages import require_packages

SPLITS = Path("data/splits")
STORE = Path("data/sweep")
REPEATS = Path("metrics/repeat")
SEEDS = 10


@click.command(cls=Command)
@click.argument("variant")
@click.option(
    "--seeds", type=click.IntRange(min=2),
    help=f"Number of seeds, counted up from the one in params.yaml; default: {SEEDS}.",
)  # fmt: skip
@click.option(
    "--folds", type=click.IntRange(min=2),
    help="Cross-validate instead, on this number of parts of the training and validation images.",
)  # fmt: skip
@click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    envvar="DASK_SCHEDULER_ADDRESS",
    help="Use the workers of this Dask scheduler instead of this machine's cores.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Local workers; default: one per core.")
def main(
    variant: str, seeds: int | None, folds: int | None, scheduler: str | None, workers: int | None
) -> None:
    """Train VARIANT several times and report how much its validation accuracy varies.

    A seed determines the initial weights and the order of batches; the images stay the same. A fold
    determines the images; the seed stays the same.
    """
    if seeds is not None and folds is not None:
        raise SettingsError("--folds and --seeds exclude each other; repeat needs one of them")
    require_packages()
    settings = read_params()
    if folds is None:
        _repeat(settings, variant, seeds or SEEDS, scheduler, workers)
    else:
        _cross_validate(settings, variant, folds, scheduler, workers)


def _repeat(
    settings: Settings, variant: str, seeds: int, scheduler: str | None, workers: int | None
) -> None:
    from pipeline.tuning.plan import RepeatPlan
    from pipeline.tuning.repeats import repeat_statistics
    from pipeline.tuning.run import run_trials

    plan = RepeatPlan.of(settings, variant, seeds)
    trials = run_trials(plan, SPLITS, STORE, click.echo, scheduler, workers)
    found = repeat_statistics(trials)
    write_json(REPEATS / f"{variant}.json", {"variant": variant, **found})
    click.echo(
        f"{variant}: mean validation accuracy of {found['repeats']} seeds {found['mean']:.2%} "
        f"(95 % interval {found['low']:.2%} to {found['high']:.2%}), "
        f"standard deviation {found['standard_deviation']:.2%}, {found['failed']} failed"
    )


def _cross_validate(
    settings: Settings, variant: str, folds: int, scheduler: str | None, workers: int | None
) -> None:
    from pipeline.tuning.plan import FoldPlan
    from pipeline.tuning.repeats import fold_statistics
    from pipeline.tuning.run import run_trials

    plan = FoldPlan.of(settings, variant, folds, _images("train") + _images("validation"))
    trials = run_trials(plan, SPLITS, STORE, click.echo, scheduler, workers)
    found = fold_statistics(plan, trials)
    # A variant's name has no dot, so no file of repeats has this name.
    write_json(REPEATS / f"{variant}.folds.json", {"variant": variant, **found})
    click.echo(
        f"{variant}: mean validation accuracy of {folds} folds {found['mean']:.2%}, "
        f"standard deviation {found['standard_deviation']:.2%}; "
        f"of all {found['images']:,} images {found['pooled']:.2%} "
        f"(95 % Wilson interval {found['pooled_low']:.2%} to {found['pooled_high']:.2%})"
    )


def _images(part: str) -> int:
    path = SPLITS / f"{part}.parquet"
    if not path.exists():
        raise DataError(f"{path} does not exist; make it with: dvc repro split")
    return len(open_examples(path))


if __name__ == "__main__":
    main()
