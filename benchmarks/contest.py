"""Contestants train the same variant in turns; every round, each once."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.children import Contestant, start_contestant
from benchmarks.flops import epoch_flops, floor_flops
from benchmarks.job import Epoch, Job
from pipeline.errors import PipelineError

Report = Callable[[str], object]

TOLERANCE, LATER = 0.01, 0.1
"""Relative difference between costs that rounding may make in the first epoch, and after it: with
momentum it grows to 3 % in 860 steps."""
FEW_ROUNDS = 3
"""Rounds of all but the epochs with validation, at the most."""


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median and the extremes, with four significant digits."""
    of = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {key: float(f"{value:.4g}") for key, value in of.items()}


def hold_contest(
    variant: str,
    job: Job,
    folder: Path,
    contestants: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    report: Report,
) -> dict[str, Any]:
    """Measure an epoch of a variant for every contestant, with validation and without.

    Return the images, the operations of an epoch, those of its floor, and for each contestant its
    times, or why it cannot. Raises PipelineError if a contestant fails or does other work than the
    first of them.
    """
    with ExitStack() as stack, tempfile.TemporaryDirectory() as cache:
        running, told = [], {}
        for name in contestants:
            contestant = stack.enter_context(start_contestant(name, folder, Path(cache)))
            told[name] = contestant.introduction
            if "cannot" in told[name]:
                report(f"{variant}: {name} takes no part: {told[name]['cannot']}")
            else:
                running.append(contestant)
        check_equal_work(variant, told)
        times = take_turns(
            running, rounds, seconds, lambda text: report(f"{variant}: round {text}")
        )
    sizes = [len(job.weights[0][0]), *(len(bias) for _, bias in job.weights)]
    flops = epoch_flops(sizes, len(job.labels), len(job.validation_labels))
    alone_flops = epoch_flops(sizes, len(job.labels), 1)
    results = {}
    for name, answer in told.items():
        if name not in times:
            results[name] = answer
            continue
        epoch, alone = (summary(times[name][validation]) for validation in (True, False))
        results[name] = {
            "epoch_seconds": epoch,
            "without_validation_seconds": alone,
            "gflops": round(flops / epoch["median"] / 1e9, 2),
            "without_validation_gflops": round(alone_flops / alone["median"] / 1e9, 2),
            "warm_up_seconds": round(answer["warm_up_seconds"], 2),
        }
    return {
        "images": len(job.labels),
        "flops": flops,
        "floor_flops": floor_flops(sizes, job.inputs, job.validation_inputs),
        "libraries": {name: told[name]["libraries"] for name in times},
        "contestants": results,
    }


def take_turns(
    contestants: Sequence[Contestant], rounds: int, seconds: float, report: Report
) -> dict[str, dict[bool, list[float]]]:
    """Return the seconds per epoch, by contestant, with validation (True) or without, by round.

    Without validation, rounds are fewer and shorter.
    """
    times: dict[str, dict[bool, list[float]]] = {
        contestant.name: {True: [], False: []} for contestant in contestants
    }
    for number in range(1, rounds + 1):
        for contestant in contestants:
            measured = contestant.measure(seconds, validation=True)
            times[contestant.name][True].append(measured)
        for contestant in contestants if number <= FEW_ROUNDS else ():
            measured = contestant.measure(seconds / 2, validation=False)
            times[contestant.name][False].append(measured)
        latest = ", ".join(f"{name} {of[True][-1] * 1e3:.4g}" for name, of in times.items())
        report(f"{number} of {rounds}, ms per epoch: {latest}")
    return times


def check_equal_work(variant: str, told: dict[str, dict[str, Any]]) -> None:
    """Raise PipelineError unless all contestants' first epochs ended with the same costs."""
    firsts = {
        name: [Epoch(*epoch) for epoch in answer["first"]]
        for name, answer in told.items()
        if "first" in answer
    }
    for name, epochs in firsts.items():
        reference = next(iter(firsts))
        for number, (epoch, expected) in enumerate(zip(epochs, firsts[reference], strict=True), 1):
            for cost, wanted in (
                (epoch.cost, expected.cost),
                (epoch.validation_cost, expected.validation_cost),
            ):
                if cost is None or wanted is None:
                    continue
                allowed = TOLERANCE if number == 1 else LATER
                if not abs(cost - wanted) <= allowed * wanted:  # NaN fails too
                    raise PipelineError(
                        f"{variant}: {name} does not do the work of {reference}: in epoch {number} "
                        f"its cost is {cost:.6g}, not {wanted:.6g}"
                    )
