"""Snapshots of a network at some twenty epochs of its training, to watch it learn.

They are small: the weights of some neurons of the first layer, and what the network makes of
validation images. They take no part in training.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.examples import Examples
from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.nn.layers import Array
from pipeline.nn.network import Network
from pipeline.nn.snapshot_file import Moments, as_levels

COUNT = 20
"""Snapshots at most, besides the initial network and those of the last epoch and of the epoch kept.

They are spaced by the logarithm of the epoch, since networks change most in the beginning.
"""
CANDIDATES = 128
"""Neurons of the first layer that are followed; their initial weights are as random as others'."""
NEURONS = 24
"""Neurons of these whose weights are kept in the end: those that changed most."""
ACTIVE = 48
"""Neurons of the last hidden layer whose activations are kept."""
IMAGES = 20
"""Validation images that are followed, the first of each class."""

_PARTS = ("filters", "activations", "probabilities", "confusion")


def snapshot_epochs(epochs: int) -> tuple[int, ...]:
    """Return the epochs of the snapshots of a training: 0, the first, the last, some between."""
    spaced = np.geomspace(1, epochs, COUNT).round().astype(int)
    return (0, *np.unique(spaced).tolist())


def followed_images(labels: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Return the rows of the first images of each class, sorted by class, IMAGES at most."""
    each = max(1, IMAGES // classes)
    rows = [np.flatnonzero(labels == label)[:each] for label in range(classes)]
    return np.concatenate(rows)[:IMAGES]


class Snapshots:
    """The snapshots of one training so far, by epoch."""

    def __init__(self, validation: Examples, epochs: int) -> None:
        """Prepare for a training of at most `epochs`, validated on these images."""
        self._validation = validation
        self._wanted = snapshot_epochs(epochs)
        self._classes = len(validation.description.class_names)
        self._rows = followed_images(validation.labels, self._classes)
        self._taken: dict[int, dict[str, Array]] = {}

    def lacks(self, epoch: int, *, last: bool) -> bool:
        """Whether a snapshot after this epoch is wanted and not taken yet. last: always wanted."""
        return epoch not in self._taken and (last or epoch in self._wanted)

    def take(self, epoch: int, network: Network, probabilities: NDArray[np.float32]) -> None:
        """Take a snapshot of a network, whose probabilities are those of all validation images."""
        cells = self._validation.labels * np.int64(self._classes) + probabilities.argmax(axis=1)
        counts = np.bincount(cells, minlength=self._classes**2)
        self._taken[epoch] = {
            "filters": network.parameters["layer1.weight"][:, :CANDIDATES].T.copy(),
            "activations": self._activations(network),
            "probabilities": probabilities[self._rows],
            "confusion": counts.reshape(self._classes, self._classes),
        }

    def _activations(self, network: Network) -> Array:
        """Return the activations (images, neurons) of the last hidden layer, in float64.

        Rounded to the levels of a file they do not depend on the processor. The sums are not left
        to BLAS, whose threads and those of the engine would wait for each other.
        """
        hidden = inputs = self._validation.inputs[self._rows].astype(np.float64)
        for layer, activation in zip(network.layers[:-1], network.activations, strict=False):
            weight = layer.weight.astype(np.float64)
            sums = np.einsum("ij,jk->ik", hidden, weight) + layer.bias
            hidden = sums if activation is None else activation(sums)[0]
        return hidden[:, :ACTIVE].copy() if network.layers[1:] else inputs[:, :0]

    def state(self) -> dict[str, Array]:
        """Return the arrays of all snapshots, by epoch and name."""
        return {
            f"{epoch}.{name}": taken[name] for epoch, taken in self._taken.items() for name in taken
        }

    def check(self, arrays: Mapping[str, Array], done: int) -> None:
        """Raise LookupError or ValueError if a state does not fit a training of `done` epochs."""
        epochs = _epochs(arrays)
        if not {epoch for epoch in self._wanted if epoch <= done} <= epochs <= {*range(done + 1)}:
            raise ValueError(f"snapshots are of epochs {sorted(epochs)}, after {done}")
        for epoch in epochs:
            for name, own in self._taken[0].items():
                array = arrays[f"{epoch}.{name}"]
                if (array.shape, array.dtype) != (own.shape, own.dtype):
                    raise ValueError(f"the snapshot of epoch {epoch} does not fit")

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Continue from a state that fits."""
        self._taken = {
            epoch: {name: arrays[f"{epoch}.{name}"] for name in _PARTS}
            for epoch in sorted(_epochs(arrays))
        }

    def moments(self, kept: int) -> Moments:
        """Return all snapshots together. kept: the epoch whose weights the network has."""
        epochs = sorted(self._taken)
        filters, activations, probabilities, confusion = (
            np.stack([self._taken[epoch][part] for epoch in epochs]) for part in _PARTS
        )
        changes = filters - filters[0].astype(np.float64)
        most = np.square(changes[epochs.index(kept)]).sum(axis=1)
        neurons = np.argsort(-most, kind="stable")[:NEURONS]
        initial, initial_scales = as_levels(filters[0, neurons], axis=0)
        levels, change_scales = as_levels(changes[:, neurons], axis=1)
        active, active_scales = as_levels(activations, axis=2)
        shown = self._validation
        brightness = shown.normalization.undo(shown.inputs[self._rows].astype(np.float64))
        images = np.rint(255 * brightness).clip(0, 255).astype(np.uint8)
        return Moments(
            np.array(epochs), np.array(kept), neurons, initial, initial_scales, levels,
            change_scales, active, active_scales, images.reshape(-1, HEIGHT, WIDTH),
            shown.labels[self._rows], probabilities, confusion,
        )  # fmt: skip


def _epochs(arrays: Mapping[str, Array]) -> set[int]:
    """Return the epochs whose snapshots are in a state."""
    return {int(key.split(".")[0]) for key in arrays}
