"""The input of every contestant of `benchmarks.records`, and the command line that it shares.

    python -m benchmarks.contestants.MODULE train|test RACE.json SEED MODEL [MODE]

`train` is timed, from the start of the process to its end, and saves a model. `test` is not timed:
it prints the accuracy of the saved model and the versions of the libraries as JSON. This module
must not import `pipeline`.
"""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.worker import libraries

Pixels = NDArray[np.uint8]
PARTS = ("train", "test")


@dataclass(frozen=True)
class Attempt:
    """One run of a recipe.

    data: folder of .npy files. rates: learning rate of each step. images: number of training images
    (None: all). mode: what the contestant makes of it, such as `compiled`.
    """

    data: str
    settings: dict[str, Any]
    rates: list[float]
    class_names: list[str]
    threads: int
    images: int | None
    seed: int
    mode: str = ""

    def part(self, name: str) -> tuple[Pixels, Pixels]:
        """Return the pixels (N, 784) from 0 to 255, and the labels (N,), of train or test."""
        pixels, labels = (np.load(path) for path in _files(Path(self.data), name))
        count = self.images if name == "train" else None
        return pixels[:count], labels[:count]

    @property
    def sizes(self) -> list[int]:
        """Neurons per layer, from input to output."""
        return [784, *self.settings["hidden"], len(self.class_names)]


def write_part(folder: Path, name: str, pixels: Pixels, labels: Pixels) -> None:
    """Write the images that `Attempt.part` reads."""
    for path, array in zip(_files(folder, name), (pixels, labels), strict=True):
        np.save(path, array)


def take_part(
    train: Callable[[Attempt, Path], None], probabilities: Callable[[Attempt, Path, Pixels], Any]
) -> None:
    """Do what the command line asks for.

    train: trains and saves a model. probabilities: applies a saved model to pixels (N, 784), and
    returns an array (N, classes) that is largest at the predicted class.
    """
    what, race, seed, path, *mode = sys.argv[1:]
    content = json.loads(Path(race).read_text(encoding="utf-8"))
    attempt = Attempt(**content, seed=int(seed), mode="".join(mode))
    if what == "train":
        train(attempt, Path(path))
        return
    pixels, labels = attempt.part("test")
    right = np.asarray(probabilities(attempt, Path(path), pixels)).argmax(axis=1) == labels
    print(json.dumps({"accuracy": float(right.mean()), "libraries": libraries()}))


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    return folder / f"{name}_pixels.npy", folder / f"{name}_labels.npy"
