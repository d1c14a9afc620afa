"""Check training on a GPU, and measure it beside PyTorch's.

    python -m benchmarks.gpu [--rounds N] [--seconds S]

Runs the tests of the GPU, times an epoch of every variant, looks for data races with NVIDIA's
compute-sanitizer if it is installed, and writes benchmarks/results-gpu.json. It takes about eight
minutes, and needs neither DVC nor the network nor the full datasets: the images are the 5,000
digits of the sample, eleven times.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.contest import hold_contest
from benchmarks.contestants import ON_GPU
from benchmarks.data import is_plain, make_job
from benchmarks.machine import ROOT, free_environment
from pipeline.base.command import Command
from pipeline.base.files import write_json
from pipeline.base.params_file import read_params
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.nn.devices import find_device
from pipeline.raw.sample import read_sample

TARGET = ROOT / "benchmarks" / "results-gpu.json"
TESTS = ("tests/nn/test_gpu.py", "tests/nn/test_gpu_kernels.py")
TIMES = 11
"""How often the sample is repeated: 55,000 images, as many as MNIST has for training."""


def repeated_sample() -> tuple[Examples, Examples]:
    """Return the sample TIMES times to train on, and once to validate on."""
    digits, normalization = read_sample(), Normalization("scale", 0.0, 1.0)
    description = Description("mnist-5k", tuple("0123456789"), "repeated")
    inputs = normalization.apply(digits.images)
    training, validation = (
        Examples(
            np.tile(inputs, (times, 1)), np.tile(digits.labels, times), description, normalization
        )
        for times in (TIMES, 1)
    )
    return training, validation


def run_tests(*wrapper: str, only: str = "") -> str:
    """Run the tests of the GPU and return the last line of their output, or that of a failure."""
    command = [*wrapper, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    command += ["-k", only] if only else []
    done = subprocess.run(
        command, cwd=ROOT, env=free_environment(), capture_output=True, text=True, check=False
    )
    click.echo(done.stdout[-4000:] + done.stderr[-2000:])
    return (done.stdout.strip().splitlines() or ["no output"])[-1]


def describe_gpu() -> dict[str, Any]:
    """Return the GPU's name, its driver and the versions of libraries."""
    asked = subprocess.run(
        ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],  # noqa: S607
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    name, driver, memory = asked.stdout.splitlines()[0].split(", ")
    packages = ("numpy", "torch", "cupy-cuda12x", "cupy-cuda13x", "cupy")
    return {
        "name": name,
        "driver": driver,
        "memory": memory,
        "libraries": {package: found for package in packages if (found := _version(package))},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ModuleNotFoundError:
        return None


@click.command(cls=Command)
@click.option("--rounds", default=3, help="Turns of each contestant.")
@click.option("--seconds", default=1.0, help="Length of a turn.")
def main(rounds: int, seconds: float) -> None:
    """Check training on a GPU, and measure it beside PyTorch's."""
    find_device("gpu")  # an error of one line if there is none
    settings = read_params()
    results: dict[str, Any] = {"gpu": describe_gpu(), "tests": run_tests()}
    click.echo(json.dumps(results, indent=2))
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is not None:
        results["racecheck"] = run_tests(
            sanitizer, "--tool", "racecheck", "--error-exitcode", "1", only="real and two_hidden"
        )
    training, validation = repeated_sample()
    epochs: dict[str, Any] = {}
    for name in settings.variants:
        variant = settings.variant(name)
        contestants = tuple(ON_GPU) if is_plain(variant) else ("ours-gpu",)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "job"
            own = variant.on(len(training))
            job = make_job(folder, own, settings.seed, training, validation)
            epochs[name] = hold_contest(
                name, job, folder, contestants, rounds=rounds, seconds=seconds, report=click.echo
            )
        write_json(TARGET, results | {"rounds": rounds, "epochs": epochs})  # what there is so far
    click.echo(f"{TARGET} is written")


if __name__ == "__main__":
    main()
