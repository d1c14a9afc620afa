"""Moments of a training that never was, for tests of what shows them."""

import numpy as np

from pipeline.base.params import VariantSettings
from pipeline.datasets.examples import Examples
from pipeline.nn.snapshot_file import Moments, as_levels
from pipeline.nn.snapshots import followed_images, snapshot_epochs


def some_moments(validation: Examples, settings: VariantSettings, seed: int = 0) -> Moments:
    """Return random moments of a network with these settings, of real validation images."""
    rng = np.random.default_rng(seed)
    classes = len(validation.description.class_names)
    epochs = np.array(snapshot_epochs(settings.epochs))
    rows = followed_images(validation.labels, classes)
    neurons = min(24, (*settings.hidden, classes)[0])
    hidden = min(48, settings.hidden[-1]) if settings.hidden else 0
    initial, initial_scales = as_levels(rng.normal(size=(neurons, 784)), axis=0)
    changes = rng.normal(size=(len(epochs), neurons, 784)) * np.log1p(epochs)[:, None, None]
    changes, change_scales = as_levels(changes, axis=1)
    active, active_scales = as_levels(rng.normal(size=(len(epochs), len(rows), hidden)), axis=2)
    brightness = validation.normalization.undo(validation.inputs[rows].astype(np.float64))
    images = (255 * brightness).round().astype(np.uint8).reshape(-1, 28, 28)
    predicted = rng.integers(0, classes, (len(epochs), len(validation)))
    predicted = np.where(rng.random(predicted.shape) < 0.6, validation.labels, predicted)
    confusion = [
        np.bincount(validation.labels.astype(int) * classes + each, minlength=classes**2)
        for each in predicted
    ]
    probabilities = rng.dirichlet(np.full(classes, 0.1), (len(epochs), len(rows)))
    return Moments(
        epochs, np.array(settings.epochs), rng.permutation(neurons), initial, initial_scales,
        changes, change_scales, active, active_scales, images, validation.labels[rows],
        probabilities.astype(np.float32), np.array(confusion).reshape(-1, classes, classes),
    )  # fmt: skip
