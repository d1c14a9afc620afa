"""VARIANT with several seeds -> metrics/repeat/VARIANT.json: how much results vary by chance.

Two variants are paired by seed -> metrics/repeat/A.vs.B.json, plots/repeat/A.vs.B.png. With
--folds, VARIANT on all images but one fold -> metrics/repeat/VARIANT.folds.json. Results for a
dataset other than that of params.yaml lie in folders with its name.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from pipeline.base.command import Command, warn
from pipeline.base.errors import DataError, SettingsError
from pipeline.base.files import write_json
from pipeline.base.params import Settings
from pipeline.base.params_file import read_params
from pipeline.datasets.parquet import open_examples
from pipeline.tuning.packages import require_packages

STORE = Path("data/sweep")
REPEATS = Path("metrics/repeat")
PLOTS = Path("plots/repeat")
SEEDS = 10


@click.command(cls=Command)
@click.argument("variants", metavar="VARIANT [VARIANT]", nargs=-1, required=True)
@click.option(
    "--seeds", type=click.IntRange(min=2),
    help=f"Number of seeds, counted up from the one in params.yaml; default: {SEEDS}.",
)  # fmt: skip
@click.option(
    "--folds", type=click.IntRange(min=2),
    help="Cross-validate instead, on this number of parts of the training and validation images.",
)  # fmt: skip
@click.option("--dataset", help="A dataset of params.yaml; default: the one that it names.")
@click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    envvar="DASK_SCHEDULER_ADDRESS",
    help="Use the workers of this Dask scheduler instead of this machine's cores.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Local workers; default: one per core.")
def main(
    variants: tuple[str, ...],
    seeds: int | None,
    folds: int | None,
    dataset: str | None,
    scheduler: str | None,
    workers: int | None,
) -> None:
    """Train VARIANT several times and report how much its validation accuracy varies.

    A seed determines the initial weights and the order of batches; the images stay the same. A fold
    determines the images; the seed stays the same. Two variants are trained with the same seeds,
    and the difference of their accuracies is reported with its interval.
    """
    if seeds is not None and folds is not None:
        raise SettingsError("--folds and --seeds exclude each other; repeat needs one of them")
    if len(variants) > 2 or len(set(variants)) < len(variants):
        raise SettingsError(
            f"repeat takes one variant or two different ones, got {' '.join(variants)}"
        )
    if folds is not None and len(variants) > 1:
        raise SettingsError(f"--folds takes one variant, got {' '.join(variants)}")
    require_packages()
    from pipeline.tuning.dataset import with_dataset

    asked = read_params()
    for variant in variants:
        asked.variant(variant)
    settings, splits = with_dataset(asked, dataset, STORE, click.echo)
    others = settings.dataset if settings.dataset != asked.dataset else ""
    places = Places(splits, REPEATS / others, PLOTS / others, scheduler, workers)
    if folds is not None:
        _cross_validate(settings, variants[0], folds, places)
        return
    found = [_repeat(settings, variant, seeds or SEEDS, places) for variant in variants]
    if len(found) == 2:
        _pair(settings, (variants[0], variants[1]), found, places)


@dataclass(frozen=True)
class Places:
    """Where the data are, where results go, and which workers train."""

    splits: Path
    results: Path
    plots: Path
    scheduler: str | None
    workers: int | None

    def run(self, plan: Any, study: str, settings: Settings) -> list[Any]:
        """Run the trials of a plan, and log them to the tracker, if any, as a study."""
        from pipeline.tracking.trials import TrackedTrials
        from pipeline.tuning.run import run_trials

        tracked = TrackedTrials(settings.tracking, study, plan.variant, settings.dataset, warn)
        return run_trials(
            plan, self.splits, STORE, click.echo, self.scheduler, self.workers, ended=tracked.add
        )


def _repeat(settings: Settings, variant: str, seeds: int, places: Places) -> list[Any]:
    from pipeline.tuning.plan import RepeatPlan
    from pipeline.tuning.repeats import repeat_statistics

    plan = RepeatPlan.of(settings, variant, seeds)
    trials = places.run(plan, f"repeat {variant} {settings.dataset}", settings)
    found = repeat_statistics(trials)
    head = {"variant": variant, "dataset": settings.dataset}
    write_json(places.results / f"{variant}.json", head | found)
    click.echo(
        f"{variant}: mean validation accuracy of {found['repeats']} seeds {found['mean']:.2%} "
        f"(95 % interval {found['low']:.2%} to {found['high']:.2%}), "
        f"standard deviation {found['standard_deviation']:.2%}, {found['failed']} failed"
    )
    return trials


def _pair(
    settings: Settings,
    variants: tuple[str, str],
    trials: list[list[Any]],
    places: Places,
) -> None:
    from pipeline.figures.compared import pairs_figure
    from pipeline.figures.style import save_png
    from pipeline.tuning.repeats import pair_statistics

    one, other = variants
    found = pair_statistics(variants, *trials)
    write_json(places.results / f"{one}.vs.{other}.json", {"dataset": settings.dataset} | found)
    figure = pairs_figure(found, f"{one} and {other} on {settings.dataset}, paired by seed")
    save_png(figure, places.plots / f"{one}.vs.{other}.png")
    sure = not found["low"] <= 0 <= found["high"]
    click.echo(
        f"{one} minus {other}: {100 * found['difference']:+.2f} percentage points "
        f"(95 % interval {100 * found['low']:+.2f} to {100 * found['high']:+.2f}) over "
        f"{found['seeds']} seeds; {one} is better for {found['first_better']}, {other} for "
        f"{found['second_better']}: {'more than luck' if sure else 'may be luck'}"
    )


def _cross_validate(settings: Settings, variant: str, folds: int, places: Places) -> None:
    from pipeline.tuning.plan import FoldPlan
    from pipeline.tuning.repeats import fold_statistics

    images = sum(_images(places.splits / f"{part}.parquet") for part in ("train", "validation"))
    plan = FoldPlan.of(settings, variant, folds, images)
    trials = places.run(plan, f"folds {variant} {settings.dataset}", settings)
    found = fold_statistics(plan, trials)
    # A variant's name has no dot, so no file of repeats has this name.
    head = {"variant": variant, "dataset": settings.dataset}
    write_json(places.results / f"{variant}.folds.json", head | found)
    click.echo(
        f"{variant}: mean validation accuracy of {folds} folds {found['mean']:.2%}, "
        f"standard deviation {found['standard_deviation']:.2%}; "
        f"of all {found['images']:,} images {found['pooled']:.2%} "
        f"(95 % Wilson interval {found['pooled_low']:.2%} to {found['pooled_high']:.2%})"
    )


def _images(path: Path) -> int:
    if not path.exists():
        raise DataError(f"{path} does not exist; make it with: dvc repro split")
    return len(open_examples(path))


if __name__ == "__main__":
    main()
