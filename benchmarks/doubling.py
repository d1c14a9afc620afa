"""Measure how the time of an epoch grows as images, width and depth double, for `ours` only."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.children import start_contestant
from benchmarks.contest import Report, summary
from benchmarks.data import make_job
from benchmarks.flops import epoch_flops
from pipeline.base.params import VariantSettings
from pipeline.datasets.examples import Examples

NEURONS = 256
BATCH = 128
LR = 0.01


def measure_doubling(
    folder: Path,
    seed: int,
    training: Examples,
    validation: Examples,
    *,
    rounds: int,
    seconds: float,
    report: Report,
) -> dict[str, list[dict[str, Any]]]:
    """Return the times of epochs without validation, in three series that double twice."""
    all_images = len(training)
    series = {
        "images": [([NEURONS], all_images // part) for part in (4, 2, 1)],
        "width": [([NEURONS * factor], all_images // 4) for factor in (1, 2, 4)],
        "depth": [([NEURONS] * layers, all_images // 4) for layers in (1, 2, 4)],
    }
    result: dict[str, list[dict[str, Any]]] = {}
    for what, steps in series.items():
        with ExitStack() as stack:
            contestants, sizes = [], []
            for number, (hidden, images) in enumerate(steps):
                settings = VariantSettings(
                    hidden=hidden, lr=LR, batch_size=BATCH, epochs=1, train_limit=images
                )
                place = folder / f"{what}{number}"
                job = make_job(place, settings, seed, training, validation)
                sizes.append([job.inputs.shape[1], *hidden, job.classes])
                contestants.append(stack.enter_context(start_contestant("ours", place, folder)))
            times: list[list[float]] = [[] for _ in steps]
            for _ in range(rounds):
                for contestant, values in zip(contestants, times, strict=True):
                    values.append(contestant.measure(seconds, validation=False))
        result[what] = [
            {
                "hidden": hidden,
                "images": images,
                "epoch_seconds": summary(values),
                "gflops": round(
                    epoch_flops(layers, images, 1) / summary(values)["median"] / 1e9, 2
                ),
            }
            for (hidden, images), layers, values in zip(steps, sizes, times, strict=True)
        ]
        medians = ", ".join(f"{step['epoch_seconds']['median'] * 1e3:.4g}" for step in result[what])
        report(f"doubling {what}: ms per epoch: {medians}")
    return result
