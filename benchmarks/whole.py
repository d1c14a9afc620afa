"""Whole processes, from files to a trained model: the stage `train` beside a PyTorch script."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.children import run_module
from benchmarks.contest import Report, summary
from benchmarks.data import write_params
from pipeline.params import Settings

EPOCHS = 5
"""Epochs of a run: few, so that starting and reading count."""


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
    """Return seconds and peak memory for those of `ours` and `pytorch-eager` that take part.

    `folder` holds the splits that the stage reads; `job_folder` the .npy files of the script.
    """
    write_params(settings.model_copy(update={"epochs": EPOCHS}), folder)
    commands = {
        "ours": ("stages.train", variant),
        "pytorch-eager": (
            "benchmarks.contestants.pytorch_script", str(job_folder), str(EPOCHS), "model.pt",
        ),
    }  # fmt: skip
    taking_part = [name for name in commands if name in contestants]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in taking_part}
    for _ in range(rounds):
        for name in taking_part:
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
