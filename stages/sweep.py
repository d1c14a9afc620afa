"""Stage sweep: data/splits/ -> metrics/sweep.json, plots/sweep.csv, plots/sweep/*.png.

It also leaves metrics/repeat/VARIANT.SPACE.sweep.json for the report, as repeats leave theirs. That
is no out of the stage, because `dvc repro report` would then run the sweep.
"""

from pathlib import Path

import click

from pipeline.base.command import Command, warn
from pipeline.base.files import whole_folder, write_json
from pipeline.base.params_file import read_params
from pipeline.base.tables import write_table
from pipeline.figures.style import save_png
from pipeline.figures.sweeps import sweep_figures
from pipeline.tuning.packages import require_packages

STORE = Path("data/sweep")
STUDIES = Path("metrics/repeat")


@click.command(cls=Command)
@click.argument("variant", required=False)
@click.option("--space", help="Name of a search space in sweep.spaces; default: sweep.space.")
@click.option("--dataset", help="A dataset of params.yaml; default: the one that it names.")
@click.option(
    "--scheduler",
    metavar="tcp://HOST:PORT",
    envvar="DASK_SCHEDULER_ADDRESS",
    help="Use the workers of this Dask scheduler instead of this machine's cores.",
)
@click.option("--workers", type=click.IntRange(min=1), help="Local workers; default: one per core.")
@click.option(
    "--results",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write sweep.json, sweep.csv and figures/ to this folder.",
)
def main(
    variant: str | None,
    space: str | None,
    dataset: str | None,
    scheduler: str | None,
    workers: int | None,
    results: Path | None,
) -> None:
    """Try settings of VARIANT (default: sweep.variant) on the validation part.

    Resumes an interrupted run of the same sweep.
    """
    require_packages()
    from pipeline.tracking.trials import TrackedTrials
    from pipeline.tuning.dataset import with_dataset
    from pipeline.tuning.plan import SweepPlan
    from pipeline.tuning.results import importances, summary, trial_table, winning_command
    from pipeline.tuning.run import run_trials
    from pipeline.tuning.space import logarithmic

    asked = read_params()
    variant = variant or asked.sweep.variant
    name = space or asked.sweep.space
    plan = SweepPlan.of(asked, variant, name)  # before a download
    settings, splits = with_dataset(asked, dataset, STORE, click.echo)
    study = f"sweep {variant} {name} {settings.dataset}"
    tracked = TrackedTrials(settings.tracking, study, variant, settings.dataset, warn)
    trials = run_trials(plan, splits, STORE, click.echo, scheduler, workers, ended=tracked.add)
    found = {"dataset": settings.dataset, "space": name} | summary(plan, trials)
    table = trial_table(plan, trials)
    title = f"{variant} on {settings.dataset}, {name}"
    published = [(point.lr, point.accuracy) for point in plan.space.published]
    figures = sweep_figures(table, importances(trials), published, logarithmic(plan.space), title)
    with whole_folder(results / "figures" if results else Path("plots/sweep")) as folder:
        for figure_name, figure in figures.items():
            save_png(figure, folder / f"{figure_name}.png")
    columns = {str(column): table[column] for column in table}
    write_table(results / "sweep.csv" if results else Path("plots/sweep.csv"), columns)
    write_json(results / "sweep.json" if results else Path("metrics/sweep.json"), found)
    if results is None:
        left = found | {
            "trials": table.astype(object).where(table.notna(), None).to_dict("records")
        }
        others = settings.dataset if settings.dataset != asked.dataset else ""
        write_json(STUDIES / others / f"{variant}.{name}.sweep.json", left)
    click.echo(
        f"best of {len(trials)}: trial {found['best_trial']}, "
        f"validation accuracy {found['validation_accuracy']:.2%}; to train it:"
    )
    other = f" -S dataset={settings.dataset}" if settings.dataset != asked.dataset else ""
    click.echo(winning_command(plan, trials) + other)


if __name__ == "__main__":
    main()
