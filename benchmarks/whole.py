"""Measure whole processes, from files to a trained model: the stage `train` and PyTorch."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.children import run_module
from benchmarks.contest import Report, summary
from benchmarks.data import write_params
from pipeline.base.params import Settings

EPOCHS = 5
"""Epochs per run: few, so that startup and reading count."""


def measure_whole(
    variant: str,
    settings: Settings,
    folder: Path,
    job_folder: Path,
    contestants: tuple[str, ...],
    *,
    rounds: int,
    report: Report,
) -> dict[str, Any]:
    """Return the seconds and the peak memory of `ours` and `pytorch-eager`, if they are measured.

    `folder` contains the splits that the stage reads, `job_folder` the .npy files of the script.
    """
    write_params(settings.model_copy(update={"epochs": EPOCHS}), folder)
    commands = {
        "ours": ("stages.train", variant),
        "pytorch-eager": (
            "benchmarks.contestants.pytorch_script", str(job_folder), str(EPOCHS), "model.pt",
        ),
    }  # fmt: skip
    chosen = [name for name in commands if name in contestants]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for _ in range(rounds):
        for name in chosen:
            command = (sys.executable, "-m", *commands[name])
            runs[name].append(json.loads(run_module("benchmarks.clock", *command, cwd=folder)))
    result: dict[str, Any] = {"epochs": EPOCHS}
    for name, measured in runs.items():
        result[name] = {
            "seconds": summary([run["seconds"] for run in measured]),
            "peak_mib": summary([run["peak_bytes"] / 2**20 for run in measured]),
        }
        seconds, peak = (result[name][key]["median"] for key in ("seconds", "peak_mib"))
        report(f"{variant}: whole process, {name}: {seconds:.2f} s, {peak:.0f} MiB")
    return result
