"""Run all measurements: the peak of the machine, epochs, whole processes, and doubling."""

import json
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.children import run_module
from benchmarks.contest import FEW_ROUNDS, Report, hold_contest, summary
from benchmarks.data import FULL, SAMPLE, make_job, make_splits, read_splits
from benchmarks.doubling import measure_doubling
from benchmarks.whole import measure_whole
from pipeline.base.machine import available_cores
from pipeline.base.params import Settings

Peak = dict[str, dict[str, float]]
"""GFLOP/s on one core and on all cores, by size."""


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
    """Return all results in the form of results.json. If `data` is None, use the embedded sample.

    Raises PipelineError if the data or a setting is invalid, or a contestant fails.
    """
    few_rounds = min(rounds, FEW_ROUNDS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chosen = make_splits(settings, SAMPLE if data is None else FULL, data, folder)
        training, validation = read_splits(folder)
        peaks: list[Peak] = []
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
    peak = highest_peak(peaks, report)
    libraries: dict[str, list[str]] = {}
    for result in epochs.values():
        libraries |= result.pop("libraries")
        floor = result["floor_flops"] / peak["all_cores"] / 1e9
        result["floor_seconds"] = float(f"{floor:.4g}")
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
            "seconds_per_round": seconds,
            "threads": available_cores(),
        },
        "peak_gflops": peak,
        "epochs": epochs,
        "whole": whole,
        "doubling": doubling,
    }


def measure_peak() -> Peak:
    """Return the speed of matrix products of several sizes, on one core and on all cores."""
    one = run_module("benchmarks.peak", OPENBLAS_NUM_THREADS="1", VECLIB_MAXIMUM_THREADS="1")
    return {"one_core": json.loads(one), "all_cores": json.loads(run_module("benchmarks.peak"))}


def highest_peak(peaks: list[Peak], report: Report) -> dict[str, Any]:
    """Return the highest speed of all products during the run in GFLOP/s, and the spread by size.

    A peak that is measured only once, while the machine is slow, would flatter our results.
    """
    highest: dict[str, Any] = {}
    for cores, speeds in peaks[0].items():
        by_size = {size: summary([peak[cores][size] for peak in peaks]) for size in speeds}
        highest[cores] = max(of["max"] for of in by_size.values())
        highest[f"{cores}_by_size"] = by_size
    report(
        f"peak: {highest['one_core']:.0f} GFLOP/s on one core, "
        f"{highest['all_cores']:.0f} on all cores"
    )
    return highest
