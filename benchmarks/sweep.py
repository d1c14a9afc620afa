"""Compare the trials per hour of a sweep on one and on two workers with `dvc exp run`.

    dvc repro split
    python -m benchmarks.sweep [--trials 24] [--repeats 3] [--runs 4]

One and two workers run the same trials of the sweep in params.yaml, in turns. The start of the
workers is not measured. `dvc exp run` then trains and evaluates the first of these trials one by
one, in a copy of the working tree.
"""

import shlex
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import click

from pipeline.base.params_file import read_params
from pipeline.tuning.cluster import open_cluster
from pipeline.tuning.fingerprint import own_fingerprint
from pipeline.tuning.plan import SweepPlan
from pipeline.tuning.run import run_plan
from pipeline.tuning.space import assignments, settings_of
from pipeline.tuning.store import open_store
from pipeline.tuning.worker import TrialData

SPLITS = Path("data/splits")


def sweep_seconds(plan: SweepPlan, workers: int) -> tuple[float, list[list[str]]]:
    """Return the time of a new sweep, and its trials as options of `dvc exp run`."""
    data = TrialData(
        (SPLITS / "train.parquet").read_bytes(),
        (SPLITS / "validation.parquet").read_bytes(),
        own_fingerprint(),
        in_memory=True,
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        open_store(Path(folder), plan.description()) as store,
        open_cluster(None, workers, "benchmark", data) as cluster,
    ):
        start = time.perf_counter()
        for _ in run_plan(plan, store, cluster):
            pass
        seconds = time.perf_counter() - start
        chosen = [settings_of(trial.params, plan.space, plan.base) for trial in store.trials]
    return seconds, [
        assignments(plan.variant, plan.space, plan.base, settings) for settings in chosen
    ]


def experiment_seconds(variant: str, trials: list[list[str]]) -> list[float]:
    """Return the time of `dvc exp run` for each trial, with `train` and `evaluate` only."""
    with tempfile.TemporaryDirectory() as folder:
        for file in filter(None, run("git ls-files -z", ".").split("\0")):
            (Path(folder) / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, Path(folder) / file)
        for command in (
            "git init -q", "git config user.name a", "git config user.email a@example.org",
            "git add -A", "git commit -qm start", "dvc repro split",
        ):  # fmt: skip
            run(command, folder)

        def timed(command: str) -> float:
            start = time.perf_counter()
            run(command, folder)
            return time.perf_counter() - start

        return [timed(f"dvc exp run {' '.join(it)} evaluate@{variant}") for it in trials]


def run(command: str, folder: str) -> str:
    """Run a command and return its output."""
    return subprocess.run(
        shlex.split(command), cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@click.command()
@click.option("--trials", default=24, show_default=True)
@click.option("--repeats", default=3, show_default=True)
@click.option("--runs", default=4, show_default=True, help="Trials to run with `dvc exp run`.")
def main(trials: int, repeats: int, runs: int) -> None:
    """Compare one worker, two workers and `dvc exp run`."""
    settings = read_params()
    chosen = settings.sweep.chosen(settings.sweep.space).model_copy(update={"trials": trials})
    variant = settings.sweep.variant
    plan = SweepPlan(variant, settings.variant(variant), chosen, settings.seed, "cpu")
    times: dict[int, list[float]] = {1: [], 2: []}
    options: list[list[str]] = []
    for _ in range(repeats):
        for workers, values in times.items():
            seconds, options = sweep_seconds(plan, workers)
            values.append(seconds)
    print(f"{trials} trials of {settings.sweep.space}, {variant} on {settings.dataset}; ", end="")
    print(f"medians of {repeats} alternating runs")
    medians = {workers: statistics.median(values) for workers, values in times.items()}
    for workers, median in medians.items():
        spread = f"{min(times[workers]):.1f} to {max(times[workers]):.1f}"
        print(
            f"{workers} worker(s): {median:.1f} s ({spread}), {3600 * trials / median:.0f} per hour"
        )
    ratios = [one / two for one, two in zip(times[1], times[2], strict=True)]
    print(f"two workers are {medians[1] / medians[2]:.2f} times as fast as one ", end="")
    print(f"(in each pair of runs: {', '.join(f'{ratio:.2f}' for ratio in ratios)})")
    if runs:
        seconds_each = experiment_seconds(variant, options[:runs])
        mean = statistics.mean(seconds_each)
        print(f"dvc exp run: {mean:.1f} s per trial, {3600 / mean:.0f} per hour; ", end="")
        print(f"two workers run {mean * trials / medians[2]:.0f} times as many trials")


if __name__ == "__main__":
    main()
