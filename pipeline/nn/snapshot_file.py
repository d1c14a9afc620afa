"""Moments of a training as one `.npz` file: arrays without pickle, read by `numpy.load`.

The file holds what pictures of the moments need, not whole networks: a fortieth of the size, and
the predictions are those of the network itself, which rounded weights would change. The same
training gives the same bytes.
"""

import zipfile
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.base.files import whole_file
from pipeline.base.npz import add_arrays
from pipeline.base.unpack import UNZIP_ERRORS
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH

LEVELS = 127
"""Weights and activations are whole numbers from -LEVELS to LEVELS, times the neuron's scale."""

_TYPES = {
    "epochs": "int64",
    "kept": "int64",
    "neurons": "int64",
    "initial": "int8",
    "initial_scales": "float32",
    "changes": "int8",
    "change_scales": "float32",
    "activations": "int8",
    "activation_scales": "float32",
    "images": "uint8",
    "labels": "uint8",
    "probabilities": "float32",
    "confusion": "int64",
}


@dataclass(frozen=True)
class Moments:
    """T moments of a training, in order; the first is epoch 0, before training.

    epochs: (T,); kept: the number of the epoch whose weights the network has in the end. neurons:
    (n,) indices in the first layer of those whose weights changed most, the most changed first.
    initial: (n, 784), their initial weights, and initial_scales: (n,). changes: (T, n, 784), of
    these weights since the beginning, and change_scales: (n,). images: (m, 28, 28), validation
    images of all classes, and labels: (m,). activations: (T, m, k), of the first neurons of the
    last hidden layer (k = 0 without one), and activation_scales: (k,). probabilities: (T, m,
    classes), of the images. confusion: (T, classes, classes), the number of validation images of
    each class (rows) and prediction (columns).
    """

    epochs: NDArray[np.int64]
    kept: NDArray[np.int64]
    neurons: NDArray[np.int64]
    initial: NDArray[np.int8]
    initial_scales: NDArray[np.float32]
    changes: NDArray[np.int8]
    change_scales: NDArray[np.float32]
    activations: NDArray[np.int8]
    activation_scales: NDArray[np.float32]
    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    confusion: NDArray[np.int64]

    def __len__(self) -> int:
        """Return the number of moments."""
        return len(self.epochs)

    @property
    def filters(self) -> NDArray[np.float64]:
        """The weights of the neurons at each moment, (T, n, 784)."""
        first, change = (
            scales.astype(np.float64)[:, np.newaxis]
            for scales in (self.initial_scales, self.change_scales)
        )
        filters: NDArray[np.float64] = self.initial * first + self.changes * change
        return filters

    @property
    def accuracies(self) -> NDArray[np.float64]:
        """The validation accuracy at each moment, (T,)."""
        right: NDArray[np.float64] = np.trace(self.confusion, axis1=1, axis2=2) / np.maximum(
            self.confusion.sum(axis=(1, 2)), 1
        )
        return right

    @property
    def last(self) -> int:
        """The index of the moment of the epoch kept."""
        return int(np.flatnonzero(self.epochs == self.kept)[0])


def as_levels(values: NDArray[Any], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return values as whole numbers, and the scale (n,) of each of the n parts along an axis.

    The largest absolute value of a part becomes LEVELS. Scales are rounded to float32, so that the
    last bit of a float64 value does not show.
    """
    turned = np.moveaxis(values.astype(np.float64), axis, -1)
    sizes = np.abs(turned).max(axis=tuple(range(values.ndim - 1)), initial=0.0)
    scales = (sizes / LEVELS).astype(np.float32)
    scales[scales == 0] = 1
    levels = np.moveaxis(np.rint(turned / scales.astype(np.float64)).astype(np.int8), -1, axis)
    return np.ascontiguousarray(levels), scales


def save_moments(path: Path, moments: Moments) -> None:
    """Write moments."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        add_arrays(archive, asdict(moments))


def load_moments(path: Path) -> Moments:
    """Read moments. Raises DataError, with a one-line message, if they cannot be or do not fit."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {field.name: archive[field.name] for field in fields(Moments)}
    except FileNotFoundError as error:
        raise DataError(
            f"{path} does not exist; write it with `dvc repro` or fetch it with `dvc pull`"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except (TypeError, AttributeError, *UNZIP_ERRORS) as error:
        raise DataError(f"{path} is not a file of moments of a training: {error}") from error
    moments = Moments(**arrays)
    wanted = _shapes(moments)
    for name, array in arrays.items():
        if array.dtype != _TYPES[name] or array.shape != wanted[name]:
            raise DataError(
                f"{path}: {name} must be {_TYPES[name]} of shape {wanted[name]}, "
                f"got {array.dtype} of {array.shape}"
            )
    if not len(moments) or int(moments.kept) not in moments.epochs:
        raise DataError(f"{path}: epochs must include the epoch kept, {moments.kept}")
    return moments


def _shapes(moments: Moments) -> dict[str, tuple[int, ...]]:
    """Return the shape that each array must have, by what the smallest ones say."""
    count, neurons, images = (
        array.size for array in (moments.epochs, moments.neurons, moments.labels)
    )
    hidden, classes = moments.activation_scales.size, moments.confusion.shape[-1:]
    return {
        "epochs": (count,),
        "kept": (),
        "neurons": (neurons,),
        "initial": (neurons, PIXELS),
        "initial_scales": (neurons,),
        "changes": (count, neurons, PIXELS),
        "change_scales": (neurons,),
        "activations": (count, images, hidden),
        "activation_scales": (hidden,),
        "images": (images, HEIGHT, WIDTH),
        "labels": (images,),
        "probabilities": (count, images, *classes),
        "confusion": (count, *classes, *classes),
    }
