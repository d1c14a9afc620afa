"""Inspect a network at work on one image, with the NumPy definition in float64.

The result therefore does not depend on how a CPU rounds float32 products.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.base.errors import ModelError
from pipeline.base.params import VariantSettings
from pipeline.nn.gradients import clip
from pipeline.nn.layers import Array
from pipeline.nn.losses import one_hot, smoothed
from pipeline.nn.model_file import Model
from pipeline.nn.network import Network
from pipeline.nn.optimizers import make_optimizer


@dataclass(frozen=True)
class LayerInspection:
    """One layer in the forward pass, the backward pass and one optimiser step.

    weight, weight_gradient, weight_after: (n_in, n_out); all other arrays: (n_out,). delta is the
    gradient of the loss in the pre-activation, output_gradient the gradient in the activation.
    """

    activation_name: str
    weight: Array
    bias: Array
    pre_activation: Array
    activation: Array
    output_gradient: Array
    delta: Array
    weight_gradient: Array
    bias_gradient: Array
    weight_after: Array
    bias_after: Array


@dataclass(frozen=True)
class Inspection:
    """One image in a network. inputs: (784,); probabilities: (classes,); cost: of this image."""

    inputs: Array
    label: int
    predicted: int
    probabilities: Array
    cost: float
    layers: tuple[LayerInspection, ...]


def inspect(model: Model, inputs: Array, label: int) -> Inspection:
    """Run one image `(784,)` forward and backward, and take one step of the model's own optimiser.

    The model is not changed. Raises ModelError if the model does not contain its training settings,
    or if its weights are so large that numbers overflow.
    """
    try:
        settings = VariantSettings(**model.training["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"model {model.variant} does not contain its training settings") from error
    seen: dict[str, Array] = {}
    parameters = {
        name: parameter.astype(np.float64) for name, parameter in model.network.parameters.items()
    }
    network = Network(model.network.architecture, parameters)
    batch = inputs[np.newaxis].astype(np.float64)
    targets = one_hot(np.array([label]), network.architecture.sizes[-1], batch.dtype)
    after = {name: parameter.copy() for name, parameter in parameters.items()}
    with np.errstate(over="ignore", invalid="ignore"):
        outputs, backward = network.forward(
            batch, lambda name, value: seen.update({name: value[0]})
        )
        costs, _ = network.loss(outputs, targets)
        _, dy = network.loss(outputs, smoothed(targets, settings.label_smoothing))
        gradients = backward(dy)
        make_optimizer(settings).step(after, clip(gradients, settings))
        probabilities = network.probabilities(outputs)[0]
    most = np.finfo(np.float32).max  # in float64, sums of squares of these do not overflow
    computed = (costs, *seen.values(), *gradients.values(), *after.values())
    if not all((np.abs(part) <= most).all() for part in computed):
        raise ModelError(f"model {model.variant} has weights that are too large to compute with")
    architecture = network.architecture
    last = len(network.layers)
    layers = tuple(
        LayerInspection(
            architecture.output if number == last else architecture.activation,
            layer.weight,
            layer.bias,
            seen[f"layer{number}.pre_activation"],
            # With cross-entropy, softmax is part of the loss, not of the network.
            probabilities
            if number == last and architecture.loss == "cross_entropy"
            else seen[f"layer{number}.activation"],
            seen[f"layer{number}.output_gradient"],
            seen[f"layer{number}.delta"],
            gradients[f"layer{number}.weight"],
            gradients[f"layer{number}.bias"],
            after[f"layer{number}.weight"],
            after[f"layer{number}.bias"],
        )
        for number, layer in enumerate(network.layers, start=1)
    )
    return Inspection(
        inputs, label, int(probabilities.argmax()), probabilities, float(costs[0]), layers
    )
