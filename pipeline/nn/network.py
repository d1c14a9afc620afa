"""A fully connected network of any depth, the one class behind all variants."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

from pipeline.nn.activations import ACTIVATIONS, softmax
from pipeline.nn.initializers import INITIALIZERS
from pipeline.nn.layers import Array, Linear
from pipeline.nn.losses import LOSSES

Gradients = dict[str, Array]
NetworkBackward = Callable[[Array], Gradients]
DIVIDED = "sigmoid outputs divided by their sum"
"""What the probabilities of a network with sigmoid outputs are."""
Watch = Callable[[str, Array], None]
"""Called with the name and value of each intermediate result, to inspect a network."""


def watch_nothing(name: str, value: Array) -> None:
    """Ignore the intermediate results of a network."""


@dataclass(frozen=True)
class Architecture:
    """The structure of a network, without its weights.

    sizes: number of neurons in each layer, from the input pixels to the output classes.
    """

    sizes: tuple[int, ...]
    activation: str
    output: str
    loss: str

    @property
    def divides_outputs(self) -> bool:
        """Whether probabilities are outputs divided by their sum, as independent sigmoids are."""
        return self.output == "sigmoid"

    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every weight and bias by name, first layer first."""
        shapes: dict[str, tuple[int, ...]] = {}
        for number, (n_in, n_out) in enumerate(
            zip(self.sizes, self.sizes[1:], strict=False), start=1
        ):
            shapes[f"layer{number}.weight"] = (n_in, n_out)
            shapes[f"layer{number}.bias"] = (n_out,)
        return shapes

    def parameter_count(self) -> int:
        """Return the number of trainable parameters."""
        return sum(int(np.prod(shape)) for shape in self.parameter_shapes().values())


class Network:
    """Linear layers with an activation between them.

    With cross-entropy, the outputs are logits, because the loss is exact only if computed from
    them; `probabilities` applies softmax. With mean squared error, the outputs are those of the
    last activation.
    """

    def __init__(self, architecture: Architecture, parameters: dict[str, Array]) -> None:
        self.architecture = architecture
        self.parameters = parameters
        self.layers = [
            Linear(parameters[f"layer{number}.weight"], parameters[f"layer{number}.bias"])
            for number in range(1, len(architecture.sizes))
        ]
        hidden = ACTIVATIONS[architecture.activation]
        last = None if architecture.loss == "cross_entropy" else ACTIVATIONS[architecture.output]
        self.activations = [*[hidden] * (len(self.layers) - 1), last]
        self.loss = LOSSES[architecture.loss]

    def forward(
        self, x: Array, watch: Watch = watch_nothing, drops: Sequence[Array] = ()
    ) -> tuple[Array, NetworkBackward]:
        """Map inputs (batch, pixels) to outputs (batch, classes).

        Return the outputs and `backward(dy)`, which maps the gradient of the loss in the outputs to
        the gradients in all weights and biases, by name. `watch` is called for each layer: in the
        forward pass with `layer1.pre_activation` and `layer1.activation`, in the backward pass with
        `layer1.output_gradient` and `layer1.delta`, the gradients of the loss in the activation and
        in the pre-activation. With cross-entropy the last layer has no activation, so both are the
        gradient in the logits, and `activation` holds the logits. drops: for each hidden layer, the
        factors (batch, neurons) of `dropout.factors`; none to use the whole network.
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
            factors = drops[number - 1] if number <= len(drops) else None
            if factors is not None:
                x = x * factors
            watch(f"layer{number}.activation", x)
            steps.append((linear_backward, activation_backward, factors))

        def backward(dy: Array) -> Gradients:
            gradients: Gradients = {}
            for number in range(len(steps), 0, -1):
                linear_backward, activation_backward, factors = steps[number - 1]
                watch(f"layer{number}.output_gradient", dy)
                if factors is not None:
                    dy = dy * factors
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
        """Turn outputs of `forward` into probabilities (batch, classes) with rows that sum to 1.

        Sigmoid outputs are independent of each other and are divided by their sum. If all are 0, as
        after a huge step, all classes are equally likely.
        """
        if self.architecture.loss == "cross_entropy":
            return softmax(outputs)[0]
        total = outputs.sum(axis=1, keepdims=True)
        silent = (total == 0).astype(outputs.dtype)
        shares: Array = (outputs + silent) / (total + silent * outputs.shape[1])
        return shares


def initialize_network(
    architecture: Architecture,
    initializer: str,
    rng: np.random.Generator,
    dtype: DTypeLike = np.float32,
) -> Network:
    """Return a new network with random weights; biases start at 0."""
    draw = INITIALIZERS[initializer]
    parameters = {
        name: (draw(rng, *shape) if len(shape) == 2 else np.zeros(shape)).astype(dtype)
        for name, shape in architecture.parameter_shapes().items()
    }
    return Network(architecture, parameters)
