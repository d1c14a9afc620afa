"""Apply a trained network to images."""

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError, ModelError
from pipeline.datasets.examples import Examples, ExampleSet
from pipeline.nn.devices import CPU, Engine
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model


def predict_probabilities(model: Model, inputs: Array, engine: Engine | None = None) -> Array:
    """Return probabilities `(N, classes)` for inputs `(N, 784)`.

    engine: an engine that already holds the model's network. Raises ModelError if the weights are
    so large that numbers overflow.
    """
    engine = engine or CPU.engine(model.network)
    images = engine.hold([(inputs, np.zeros(len(inputs), np.uint8))], len(inputs))
    probabilities: NDArray[np.float32] = engine.probabilities(images)
    if not np.isfinite(probabilities).all():
        raise ModelError(f"model {model.variant} has weights that are too large to compute with")
    return probabilities


def check_fits(model: Model, examples: ExampleSet) -> None:
    """Raise DataError if a model was trained with other classes or another normalisation."""
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


def check_images(model: Model, examples: Examples) -> None:
    """Raise DataError if a model comes from another dataset: it may have seen these images."""
    description = examples.description
    known = model.training.get("dataset"), model.training.get("source")
    if known != (description.dataset, description.source):
        raise DataError(
            f"model {model.variant} was trained on other images than those of "
            f"{description.dataset} in data/splits; bring both up to date with: dvc repro"
        )
