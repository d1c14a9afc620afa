"""The section of the report in which one watches a network learn: what its script needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.nn.snapshot_file import LEVELS, Moments
from pipeline.report.pictures import Picture, signed_picture, strip_picture

NEURONS = 12
"""Neurons of the first layer that are shown."""
SHADES = 31
"""Weights and activations are whole numbers from -SHADES to SHADES: one character each."""
LEAST = 1e-30
"""Least weight to divide by."""
LETTERS = np.frombuffer(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_", np.uint8
)
"""The character of each number from -SHADES on."""


@dataclass(frozen=True)
class Followed:
    """A validation image that is shown at each moment. picture: of it; label: its class."""

    picture: Picture
    label: str


def check_moments(moments: Mapping[str, Moments], class_names: Sequence[str]) -> None:
    """Raise DataError unless the moments of all variants are of the same images and classes."""
    first = next(iter(moments.values()))
    for name, of in moments.items():
        same = of.images.tobytes() == first.images.tobytes()
        if (
            not same
            or (of.labels != first.labels).any()
            or of.confusion.shape[1] != len(class_names)
        ):
            raise DataError(
                f"the snapshots of {name} are of other images; `dvc repro` brings them up to date"
            )


def followed_images(moments: Moments, class_names: Sequence[str]) -> list[Followed]:
    """Return the images that are shown at each moment, the same for all variants."""
    return [
        Followed(strip_picture(image[np.newaxis]), class_names[label])
        for image, label in zip(moments.images, moments.labels, strict=True)
    ]


def learning_data(moments: Moments, costs: Mapping[int, float]) -> dict[str, Any]:
    """Return the moments of a variant for the script; most numbers are characters of a text.

    costs: of the validation images after each epoch.

    start: the initial weights (n, 784) of NEURONS neurons, as multiples of startSteps; changes:
    since then, (T - 1, n, 784), as multiples of changeSteps. activations: (T, m, k), shares of the
    largest of each neuron. predictions and confidences: (T, m), of the images. confusions: for each
    moment pairs of a cell, counted row by row, and a number above 0.
    """
    shown = slice(NEURONS)
    confidences = moments.probabilities.max(axis=2)
    return {
        "epochs": moments.epochs.tolist(),
        "kept": moments.last,
        "accuracies": moments.accuracies.round(6).tolist(),
        "costs": [costs.get(epoch) for epoch in moments.epochs.tolist()],
        "neurons": (moments.neurons[shown] + 1).tolist(),
        "start": _text(moments.initial[shown]),
        "startSteps": _steps(moments.initial_scales[shown]),
        "changes": _text(moments.changes[1:, shown]),
        "changeSteps": _steps(moments.change_scales[shown]),
        "active": moments.activations.shape[2],
        "activations": _text(moments.activations),
        "predictions": moments.probabilities.argmax(axis=2).tolist(),
        "confidences": (100 * confidences).round().astype(int).tolist(),
        "confusions": [
            [number for cell in np.flatnonzero(counts) for number in (int(cell), int(counts[cell]))]
            for counts in moments.confusion.reshape(len(moments), -1)
        ],
    }


def kept_pictures(moments: Moments) -> tuple[Picture, Picture | None]:
    """Return the weights, and the activations if any, of the epoch kept, for a page without script.

    They look as the script draws them.
    """
    filters = moments.filters[:, :NEURONS]
    largest = np.maximum(np.abs(filters).max(axis=(0, 2)), LEAST)[:, np.newaxis]
    shares = (filters[moments.last] / largest).reshape(-1, HEIGHT, WIDTH)
    active = moments.activations[[moments.last]] / LEVELS
    return signed_picture(shares), signed_picture(active) if active.size else None


def _text(levels: NDArray[np.int8]) -> str:
    """Return levels from -LEVELS to LEVELS as a character each."""
    numbers = np.rint(levels.astype(np.float64) * SHADES / LEVELS).astype(np.int64) + SHADES
    return LETTERS[numbers].tobytes().decode("ascii")


def _steps(scales: NDArray[np.float32]) -> list[float]:
    return [float(f"{scale * LEVELS / SHADES:.4g}") for scale in scales]
