"""All measurements of one run: the machine's peak, epochs, whole processes, and doubling."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.children import run_module
from benchmarks.contest import FEW_ROUNDS, Report, hold_contest, summary
from benchmarks.data import make_job, make_splits, read_splits
from benchmarks.doubling import measure_doubling
from benchmarks.whole import measure_whole
from pipeline.nn.backend import available_cores
from pipeline.params import Settings


def measure_everything(
    settings: Settings,
    data: Path | None,
    variants: tuple[str, ...],
    contestants: tuple[str, ...],
    *,
    rounds: int,
    seconds: float,
    report: Report,
) -> dict[str, Any]:
    """Give all results, as results.json keeps them. `data` None takes the embedded sample.

    Raises PipelineError where the data, a setting or a contestant is at fault.
    """
    few_rounds = min(rounds, FEW_ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = make_splits(settings, data, folder)
        training, validation = read_splits(folder)
        peaks: list[dict[str, Any]] = []
        epochs, whole = {}, {}
        for variant in variants:
            peaks.append(measure_peak())
            own = chosen.variant(variant)
            with tempfile.TemporaryDirectory() as place:
                job_folder = Path(place) / "job"
                job = make_job(job_folder, own, chosen.seed, training, validation)
                epochs[variant] = hold_contest(
                    variant, job, job_folder, contestants,
                    rounds=rounds, seconds=seconds, report=report,
                )  # fmt: skip
                whole[variant] = measure_whole(
                    variant, chosen, folder, job_folder, contestants,
                    rounds=few_rounds, report=report,
                )  # fmt: skip
        doubling = measure_doubling(
            folder / "doubling", chosen.seed, training, validation,
            rounds=few_rounds, seconds=seconds / 2, report=report,
        )  # fmt: skip
    libraries: dict[str, list[str]] = {}
    for result in epochs.values():
        libraries |= result.pop("libraries")
    return {
        "libraries": libraries,
        "data": {
            "dataset": chosen.dataset,
            "source": training.description.source,
            "images": len(training),
            "validation_images": len(validation),
        },
        "method": {
            "contestants": list(contestants),
            "rounds": rounds,
            "seconds_a_round": seconds,
            "threads": available_cores(),
        },
        "peak_gflops": highest_peak(peaks, report),
        "epochs": epochs,
        "whole": whole,
        "doubling": doubling,
    }


def measure_peak() -> dict[str, dict[str, dict[str, float]]]:
    """Time matrix products, pinned and free, on one core and on all, of several sizes."""
    return {kind: json.loads(run_module("benchmarks.peak", kind)) for kind in ("pinned", "free")}


def highest_peak(
    peaks: list[dict[str, dict[str, dict[str, float]]]], report: Report
) -> dict[str, Any]:
    """Give the fastest of all products timed through the run, in GFLOP/s, and each size's spread.

    A peak measured once, in a moment when the machine was slow, would flatter us.
    """
    highest: dict[str, Any] = {}
    for kind in peaks[0]:
        highest[kind] = {}
        for cores in peaks[0][kind]:
            by_size = {
                size: summary([peak[kind][cores][size] for peak in peaks])
                for size in peaks[0][kind][cores]
            }
            highest[kind][cores] = max(of["max"] for of in by_size.values())
            highest[kind][f"{cores}_by_size"] = by_size
        report(
            f"sgemm, {kind} kernels: {highest[kind]['one_core']:.0f} GFLOP/s on one core, "
            f"{highest[kind]['all_cores']:.0f} on all"
        )
    return highest
