"""Using a trained network on images."""

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.tables import Examples
from pipeline.errors import DataError, ModelError
from pipeline.nn.backend import Array, to_host
from pipeline.nn.model_file import Model
from pipeline.nn.parallel import Workers


def predict_probabilities(model: Model, inputs: Array, workers: Workers) -> NDArray[np.float32]:
    """Give `(N, classes)` probabilities for inputs `(N, 784)` on the model's device.

    Raises ModelError where the weights are so large that numbers overflow on the way.
    """
    network = model.network

    def tile_probabilities(tile: slice) -> Array:
        with np.errstate(over="ignore", invalid="ignore"):
            outputs, _ = network.forward(inputs[tile])
            return to_host(network.probabilities(outputs))

    probabilities = np.concatenate(list(workers.map(tile_probabilities, len(inputs))))
    if not np.isfinite(probabilities).all():
        raise ModelError(f"model {model.variant} has weights that are too large to compute with")
    return probabilities


def check_fits(model: Model, examples: Examples) -> None:
    """Raise DataError where a model was made for other classes or another normalisation."""
    if model.class_names != examples.description.class_names:
        raise DataError(
            f"model {model.variant} knows the classes {', '.join(model.class_names)}; "
            f"{examples.description.dataset} has {', '.join(examples.description.class_names)}"
        )
    if model.normalization != examples.normalization:
        raise DataError(
            f"model {model.variant} was trained on images normalised by {model.normalization}, "
            f"got {examples.normalization}"
        )
