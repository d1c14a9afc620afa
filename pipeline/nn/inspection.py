"""Inspect a network at work on one image, with the NumPy definition in float64.

The result therefore does not depend on how a CPU rounds float32 products.
"""

from dataclasses import dataclass

import numpy as np

from pipeline.base.errors import ModelError
from pipeline.base.params import VariantSettings
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.gradients import clip
from pipeline.nn.layers import Array
from pipeline.nn.losses import one_hot, smoothed
from pipeline.nn.model_file import Model
from pipeline.nn.network import Network
from pipeline.nn.optimizers import make_optimizer

LEAST = 1e-150
"""Least probability to divide by, so that the square of the quotient is finite."""


@dataclass(frozen=True)
class LayerInspection:
    """One layer in the forward pass, the backward pass and one optimiser step.

    weight, weight_gradient, weight_after: (n_in, n_out); all other arrays: (n_out,). delta is the
    gradient of the loss in the pre-activation, output_gradient the gradient in the activation. In
    the last layer of a network with cross-entropy, the activation is the softmax of the
    pre-activation.
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
    """One image in a network, before and after one step of the optimiser on this image alone.

    inputs: (784,); probabilities, probabilities_after: (classes,); cost, cost_after: of this image;
    optimizer, lr: what the step was taken with.
    """

    inputs: Array
    label: int
    predicted: int
    probabilities: Array
    cost: float
    probabilities_after: Array
    cost_after: float
    optimizer: str
    lr: float
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
        aims = smoothed(targets, settings.label_smoothing)
        _, dy = network.loss(outputs, aims)
        gradients = backward(dy)
        make_optimizer(settings).step(after, clip(gradients, settings))
        probabilities = network.probabilities(outputs)[0]
        stepped = Network(network.architecture, after)
        outputs_after, _ = stepped.forward(batch)
        costs_after, _ = network.loss(outputs_after, targets)
    most = np.finfo(np.float32).max  # in float64, sums of squares of these do not overflow
    computed = (costs, costs_after, *seen.values(), *gradients.values(), *after.values())
    if not all((np.abs(part) <= most).all() for part in computed):
        raise ModelError(f"model {model.variant} has weights that are too large to compute with")
    architecture = network.architecture
    last = len(network.layers)
    if architecture.loss == "cross_entropy":  # softmax is part of the loss, not of the network
        seen[f"layer{last}.activation"] = probabilities
        seen[f"layer{last}.output_gradient"] = -aims[0] / np.maximum(probabilities, LEAST)
    layers = tuple(
        LayerInspection(
            architecture.output if number == last else architecture.activation,
            layer.weight,
            layer.bias,
            seen[f"layer{number}.pre_activation"],
            seen[f"layer{number}.activation"],
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
        inputs, label, int(probabilities.argmax()), probabilities, float(costs[0]),
        stepped.probabilities(outputs_after)[0], float(costs_after[0]),
        settings.optimizer, settings.lr, layers,
    )  # fmt: skip


def input_gradients(inspection: Inspection, number: int, neurons: Array) -> Array:
    """Return the gradients (784, n) of pre-activations in the inputs, at this image.

    number: of the layer, from 1; neurons: n indices. For layer 1 these are the weights. For a layer
    after ReLU they are the weights of the affine map that the network is around this image.
    """
    gradients: Array = inspection.layers[number - 1].weight[:, neurons]
    for layer in reversed(inspection.layers[: number - 1]):
        _, backward = ACTIVATIONS[layer.activation_name](layer.pre_activation[np.newaxis])
        gradients = layer.weight @ backward(gradients.T).T
    return gradients
