"""Measure the memory of each stage against the number of images, and the time of streaming.

    python -m benchmarks.memory [--images 60000 --images 600000 --images 3000000] [--folder DIR]
                                [--repeats 5] [--out benchmarks]

The images are real digits, shifted by up to 2 pixels in each direction, with noise on their
strokes. They are sorted by class, the worst order for a shuffle. Each stage runs in its own
process, as in `dvc repro`. `train` runs one epoch of mini_batch from disk and, with at most
IN_MEMORY images, one from memory. Results are written to benchmarks/memory.png and
benchmarks/memory.json, which keeps the results for other numbers of images. The largest set needs
4 bytes in DIR per byte of its pixels: 9 GB for 3 million images.
"""

import json
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
from ruamel.yaml import YAML

from pipeline.raw.idx import idx_header

ROOT = Path(__file__).resolve().parent.parent
VARIANT = "mini_batch"
BUFFER = 65_536
IN_MEMORY = 600_000
"""Maximum number of images for which `train` also runs from memory, for comparison."""
BLOCK = 4_096
SHIFT = 2
NOISE = 16
UNIT = 1 if sys.platform == "darwin" else 1024
"""Bytes per unit of ru_maxrss: 1 on macOS, 1,024 elsewhere."""


def make_digits(folder: Path, count: int) -> None:
    """Write `count` digits as IDX files; the same count gives the same files."""
    from pipeline.raw.sample import read_sample

    # The sample is sorted, with 500 images per digit.
    real = read_sample().images.reshape(10, -1, 28, 28)
    padded = np.pad(real, ((0, 0), (0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)))
    rng = np.random.default_rng(0)
    with (
        open(folder / "train-images-idx3-ubyte", "wb") as image_file,
        open(folder / "train-labels-idx1-ubyte", "wb") as label_file,
    ):
        image_file.write(idx_header((count, 28, 28)))
        label_file.write(idx_header((count,)))
        for start in range(0, count, BLOCK):
            digits = np.arange(start, min(start + BLOCK, count)) * 10 // count
            chosen = padded[digits, rng.integers(0, real.shape[1], len(digits))]
            windows = np.lib.stride_tricks.sliding_window_view(chosen, (28, 28), axis=(1, 2))
            down, right = rng.integers(0, 2 * SHIFT + 1, (2, len(digits)))
            moved = windows[np.arange(len(digits)), down, right].astype(np.int16)
            noise = rng.integers(-NOISE, NOISE, moved.shape, np.int16, endpoint=True)
            noisy = np.where(moved > 0, np.clip(moved + noise, 1, 255), 0)
            image_file.write(noisy.astype(np.uint8).tobytes())
            label_file.write(digits.astype(np.uint8).tobytes())


def write_params(project: Path, buffer: int | str) -> None:
    """Write the repository's settings, changed to the generated digits, one epoch and `buffer`."""
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params |= {"dataset": "made", "epochs": 1, "shuffle_buffer": buffer}
    params["datasets"]["made"] = {
        "source": str(project / "source"),
        "test_size": 10_000,
        "validation_size": 5_000,
        "class_names": [str(digit) for digit in range(10)],
        "pictures": "digit",
        "checksums": {},
    }
    yaml.dump(params, project / "params.yaml")


def run_stage(project: Path, *command: str) -> dict[str, float]:
    """Run a stage in `project` and return its peak memory in MiB and its times in seconds.

    Processor time hardly depends on other processes; wall-clock time does. The kernel counts the
    memory of a child from the fork on, so this process must stay smaller than the stages.
    """
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", *command], cwd=project, env=environment, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException(f"{' '.join(command)} failed")
    return {
        "peak_mib": round(usage.ru_maxrss * UNIT / 2**20),
        "seconds": round(time.perf_counter() - start, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
    }


def measure(project: Path, count: int) -> list[dict[str, Any]]:
    """Run all stages on `count` generated digits and return their measurements."""
    (project / "source").mkdir()
    in_process_of_its_own(make_digits, project / "source", count)
    runs = []
    stages: list[tuple[str, tuple[str, ...], int | str]] = [
        ("download", ("stages.download",), BUFFER),
        ("convert", ("stages.convert",), BUFFER),
        ("split", ("stages.split",), BUFFER),
        ("train", ("stages.train", VARIANT), BUFFER),
        ("evaluate", ("stages.evaluate", VARIANT), BUFFER),
    ]
    if count <= IN_MEMORY:
        stages.append(("train from memory", ("stages.train", VARIANT), "all"))
    for name, command, buffer in stages:
        write_params(project, buffer)
        run: dict[str, Any] = {"images": count, "stage": name} | run_stage(project, *command)
        if name.startswith("train"):
            history = (project / f"plots/history/{VARIANT}.csv").read_text().splitlines()
            run["validation_accuracy"] = float(history[-1].split(",")[-1])
        if name == "download":
            shutil.rmtree(project / "source")
        runs.append(run)
        print(", ".join(f"{key} {value}" for key, value in run.items()), flush=True)
    return runs


def epoch_seconds(project: Path, repeats: int, out: Path) -> None:
    """Time epochs from memory and from disk, in turns, and write the medians to `out`."""
    from pipeline.base.params_file import read_params
    from pipeline.datasets.parquet import open_examples, read_examples
    from pipeline.nn.devices import CPU
    from pipeline.nn.streaming import hold, training_set
    from pipeline.nn.training import Training, make_network

    settings = read_params(project / "params.yaml").variant(VARIANT)
    examples = open_examples(project / "data/splits/train.parquet")
    network, rng = make_network(settings, 10, 0)
    engine = CPU.engine(network, settings)
    validation = hold(engine, read_examples(project / "data/splits/validation.parquet"))
    sets = {
        "memory": training_set(engine, examples, "all"),
        "disk": training_set(engine, examples, BUFFER),
    }
    clocks = {"seconds": time.perf_counter, "processor_seconds": time.process_time}
    times: dict[tuple[str, str], list[float]] = {
        (name, clock): [] for name in sets for clock in clocks
    }
    for _ in range(repeats):
        for name, training in sets.items():
            starts = {clock: read() for clock, read in clocks.items()}
            list(Training(engine, settings, training, validation, rng).epochs())
            for clock, read in clocks.items():
                times[name, clock].append(read() - starts[clock])
    speed: dict[str, Any] = {"images": len(examples), "repeats": repeats}
    for (name, clock), each in times.items():
        speed[f"{name}_{clock}"] = round(statistics.median(each), 2)
    out.write_text(json.dumps(speed))


def draw(runs: list[dict[str, Any]], path: Path) -> None:
    """Draw the peak memory of each stage against the number of images."""
    from matplotlib.figure import Figure

    from pipeline.base.colours import SERIES
    from pipeline.figures.style import save_png, style

    with style():
        figure = Figure(figsize=(8, 4), layout="constrained")
        axes = figure.subplots()
        for colour, stage in zip(SERIES, dict.fromkeys(run["stage"] for run in runs), strict=False):
            points = [(run["images"], run["peak_mib"]) for run in runs if run["stage"] == stage]
            dashes = "--" if stage == "train from memory" else "-"
            axes.plot(*zip(*points, strict=True), dashes, marker="o", color=colour, label=stage)
        axes.set(
            title="Peak memory of each stage",
            xlabel="images",
            ylabel="peak resident memory, MiB",
            xscale="log",
            ylim=(0, None),
        )
        axes.set_xticks(counts := sorted({run["images"] for run in runs}), minor=False)
        axes.set_xticklabels(f"{count:,}" for count in counts)
        axes.minorticks_off()
        figure.legend(loc="outside right center")
        save_png(figure, path)


def in_process_of_its_own(function: Any, *arguments: Any) -> None:
    """Call a function in another process, so that its memory does not count for this one."""
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise click.ClickException(f"{function.__name__} failed")


@click.command()
@click.option(
    "--images",
    "counts",
    type=click.IntRange(min=20_000),
    multiple=True,
    default=(60_000, 600_000, 3_000_000),
    help="Number of images; can be repeated.",
)
@click.option("--folder", type=click.Path(path_type=Path), help="Folder for temporary files.")
@click.option("--repeats", default=5, help="Epochs to time from memory and from disk.")
@click.option("--out", default=ROOT / "benchmarks", type=click.Path(path_type=Path))
def main(counts: tuple[int, ...], folder: Path | None, repeats: int, out: Path) -> None:
    """Measure each stage for each number of images."""
    path = out / "memory.json"
    measured = json.loads(path.read_text()) if path.exists() else {"stages": [], "epochs": []}
    for count in sorted(counts):
        with tempfile.TemporaryDirectory(dir=folder) as name:
            project = Path(name)
            runs = measure(project, count)
            epochs = []
            if repeats and count <= IN_MEMORY:
                in_process_of_its_own(epoch_seconds, project, repeats, project / "epoch.json")
                epochs.append({"made": count} | json.loads((project / "epoch.json").read_text()))
                print(epochs[-1], flush=True)
        runs += [run for run in measured["stages"] if run["images"] != count]
        epochs += [epoch for epoch in measured["epochs"] if epoch["made"] != count]
        measured = {
            "variant": VARIANT,
            "shuffle_buffer": BUFFER,
            "stages": sorted(runs, key=lambda run: run["images"]),
            "epochs": sorted(epochs, key=lambda epoch: epoch["made"]),
        }
        path.write_text(json.dumps(measured, indent=2) + "\n")
        in_process_of_its_own(draw, measured["stages"], out / "memory.png")


if __name__ == "__main__":
    main()
