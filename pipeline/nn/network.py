"""A fully connected network of any depth: the one class behind all variants."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from pipeline.nn.activations import ACTIVATIONS, softmax
from pipeline.nn.backend import CPU, Array, Device, array_module
from pipeline.nn.initializers import INITIALIZERS
from pipeline.nn.layers import Linear
from pipeline.nn.losses import LOSSES

Gradients = dict[str, Array]
NetworkBackward = Callable[[Array], Gradients]
Watch = Callable[[str, Array], None]
"""Told the name and value of each step inside a network, for looking at it."""


def watch_nothing(name: str, value: Array) -> None:
    """Leave the steps of a network unseen, as training does."""


@dataclass(frozen=True)
class Architecture:
    """What a network is made of, apart from its weights.

    sizes: neurons in each layer, from the input's pixels to the output's classes.
    """

    sizes: tuple[int, ...]
    activation: str
    output: str
    loss: str

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Give the shape of every weight and bias by name, first layer first."""
        shapes: dict[str, tuple[int, ...]] = {}
        for number, (n_in, n_out) in enumerate(
            zip(self.sizes, self.sizes[1:], strict=False), start=1
        ):
            shapes[f"layer{number}.weight"] = (n_in, n_out)
            shapes[f"layer{number}.bias"] = (n_out,)
        return shapes

    def views(self, vector: Array) -> dict[str, Array]:
        """Give every weight and bias by name as a view of a vector: weights first, then biases."""
        shapes = self.parameter_shapes()
        views: dict[str, Array] = {}
        start = 0
        for name in sorted(shapes, key=lambda name: name.endswith("bias")):
            size = int(np.prod(shapes[name]))
            views[name] = vector[start : start + size].reshape(shapes[name])
            start += size
        return {name: views[name] for name in shapes}

    def parameter_count(self) -> int:
        """Count the numbers that training adjusts."""
        return sum(int(np.prod(shape)) for shape in self.parameter_shapes().values())


class Network:
    """Linear layers with an activation between them.

    With cross-entropy the output is logits, because the loss is exact from them alone; softmax is
    applied by `probabilities`. With mean squared error the output has passed its activation.

    vector: all parameters in one piece, which the weights and biases are views of.
    """

    def __init__(self, architecture: Architecture, parameters: dict[str, Array]) -> None:
        """Copy the given parameters."""
        self.architecture = architecture
        first = next(iter(parameters.values()))
        self.vector = array_module(first).empty(architecture.parameter_count(), first.dtype)
        self.parameters = architecture.views(self.vector)
        for name, parameter in self.parameters.items():
            parameter[...] = parameters[name]
        self.layers = [
            Linear(self.parameters[f"layer{number}.weight"], self.parameters[f"layer{number}.bias"])
            for number in range(1, len(architecture.sizes))
        ]
        hidden = ACTIVATIONS[architecture.activation]
        last = None if architecture.loss == "cross_entropy" else ACTIVATIONS[architecture.output]
        self.activations = [*[hidden] * (len(self.layers) - 1), last]
        self.loss = LOSSES[architecture.loss]

    def forward(self, x: Array, watch: Watch = watch_nothing) -> tuple[Array, NetworkBackward]:
        """Map inputs (batch, pixels) to outputs (batch, classes).

        Gives the outputs and `backward(dy)`, which maps the gradient of the loss in the outputs
        to its gradients in all weights and biases, by name. `watch` sees, for each layer,
        `layer1.pre_activation` and `layer1.activation` on the way forward; on the way back
        `layer1.output_gradient` and `layer1.delta`, the loss's gradients in those two.
        """
        steps = []
        for number, (layer, activation) in enumerate(
            zip(self.layers, self.activations, strict=True), start=1
        ):
            x, linear_backward = layer.forward(x)
            watch(f"layer{number}.pre_activation", x)
            activation_backward = None
            if activation is not None:
                x, activation_backward = activation(x)
            watch(f"layer{number}.activation", x)
            steps.append((linear_backward, activation_backward))

        def backward(dy: Array) -> Gradients:
            gradients: Gradients = {}
            for number in range(len(steps), 0, -1):
                linear_backward, activation_backward = steps[number - 1]
                watch(f"layer{number}.output_gradient", dy)
                if activation_backward is not None:
                    dy = activation_backward(dy)
                watch(f"layer{number}.delta", dy)
                dx, of_layer = linear_backward(dy, input_gradient=number > 1)
                for name, gradient in of_layer.items():
                    gradients[f"layer{number}.{name}"] = gradient
                if dx is not None:
                    dy = dx
            return gradients

        return x, backward

    def probabilities(self, outputs: Array) -> Array:
        """Turn outputs of `forward` into one number a class that sum to 1 over each row.

        Sigmoid outputs judge each class alone and are scaled to that sum. Where all of them are 0,
        as after a huge step, no class is likelier than another.
        """
        if self.architecture.loss == "cross_entropy":
            return softmax(outputs)[0]
        xp = array_module(outputs)
        total = outputs.sum(axis=1, keepdims=True)
        silent = total == 0
        shares: Array = xp.where(silent, 1 / outputs.shape[1], outputs / xp.where(silent, 1, total))
        return shares


def initialize_network(
    architecture: Architecture,
    initializer: str,
    rng: np.random.Generator,
    device: Device = CPU,
    dtype: DTypeLike = np.float32,
) -> Network:
    """Draw a new network's weights; biases start at 0."""
    draw = INITIALIZERS[initializer]
    parameters = {}
    for name, shape in architecture.parameter_shapes().items():
        values = draw(rng, shape[0], shape[1]) if len(shape) == 2 else np.zeros(shape)
        parameters[name] = device.put(values.astype(dtype))
    return Network(architecture, parameters)
