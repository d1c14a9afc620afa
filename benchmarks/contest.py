"""Measure contestants that train the same variant, each once per round, in turns."""

import statistics
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.children import Contestant, start_contestant
from benchmarks.flops import epoch_flops, floor_flops
from benchmarks.job import Epoch, Job
from pipeline.base.errors import PipelineError

Report = Callable[[str], object]

TOLERANCE, LATER = 0.01, 0.1
"""Relative difference that rounding may make between training costs of the first epoch, and between
all later costs. A pre-activation that rounding moves across ReLU's kink changes the steps after it:
between float32 and float64, weights of two_hidden differ by 4e-7 after 100 steps, but by 0.01 after
200, and the validation cost by 1.3 % after the 430 of an epoch."""
FEW_ROUNDS = 3
"""Maximum number of rounds of all measurements except epochs with validation."""


def summary(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the minimum and the maximum with four significant digits."""
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
    """Measure an epoch of a variant for every contestant, with and without validation.

    Return the number of images, the operations of an epoch and of its floor, and for each
    contestant its times or the reason why it cannot train the variant. Raises PipelineError if a
    contestant fails or does not do the same work as the first.
    """
    with ExitStack() as stack, tempfile.TemporaryDirectory() as cache:
        running, answers = [], {}
        for name in contestants:
            contestant = stack.enter_context(start_contestant(name, folder, Path(cache)))
            answers[name] = contestant.introduction
            if "cannot" in answers[name]:
                report(f"{variant}: {name} is not measured: {answers[name]['cannot']}")
            else:
                running.append(contestant)
        check_equal_work(variant, answers)
        times = take_turns(
            running, rounds, seconds, lambda text: report(f"{variant}: round {text}")
        )
    sizes = [len(job.weights[0][0]), *(len(bias) for _, bias in job.weights)]
    flops = epoch_flops(sizes, len(job.labels), len(job.validation_labels))
    alone_flops = epoch_flops(sizes, len(job.labels), 1)
    results = {}
    for name, answer in answers.items():
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
        "libraries": {name: answers[name]["libraries"] for name in times},
        "contestants": results,
    }


def take_turns(
    contestants: Sequence[Contestant], rounds: int, seconds: float, report: Report
) -> dict[str, dict[bool, list[float]]]:
    """Return the seconds per epoch of each round, by contestant and by whether it validates.

    Without validation there are fewer and shorter rounds.
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
    """Raise PipelineError unless the first epochs of all contestants end with the same costs."""
    firsts = {
        name: [Epoch(*epoch) for epoch in answer["first"]]
        for name, answer in told.items()
        if "first" in answer
    }
    for name, epochs in firsts.items():
        reference = next(iter(firsts))
        for number, (epoch, expected) in enumerate(zip(epochs, firsts[reference], strict=True), 1):
            for cost, wanted, allowed in (
                (epoch.cost, expected.cost, TOLERANCE if number == 1 else LATER),
                (epoch.validation_cost, expected.validation_cost, LATER),
            ):
                if cost is None or wanted is None:
                    continue
                if not abs(cost - wanted) <= allowed * wanted:  # NaN fails too
                    raise PipelineError(
                        f"{variant}: {name} does not do the same work as {reference}: its cost in "
                        f"epoch {number} is {cost:.6g}, not {wanted:.6g}"
                    )
