"""Activation functions. Each returns its value and its backward pass.

`backward(dy)` maps the gradient of the loss in the output to the gradient in the input.
"""

from collections.abc import Callable

import numpy as np

from pipeline.nn.layers import Array

Backward = Callable[[Array], Array]
Activation = Callable[[Array], tuple[Array, Backward]]


def relu(x: Array) -> tuple[Array, Backward]:
    """Return max(x, 0), elementwise. The derivative at 0 is taken as 0."""
    return np.maximum(x, 0), lambda dy: dy * (x > 0)


def sigmoid(x: Array) -> tuple[Array, Backward]:
    """Return 1 / (1 + exp(-x)), elementwise, computed with tanh, which cannot overflow."""
    y = 0.5 * np.tanh(0.5 * x) + 0.5
    return y, lambda dy: dy * y * (1 - y)


def tanh(x: Array) -> tuple[Array, Backward]:
    """Return the hyperbolic tangent, elementwise."""
    y = np.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def softmax(x: Array) -> tuple[Array, Backward]:
    """Return exp(x) divided by its sum, for each row of (batch, classes)."""
    y = np.exp(x - x.max(axis=1, keepdims=True))  # exp cannot overflow
    y = y / y.sum(axis=1, keepdims=True)
    return y, lambda dy: y * (dy - (dy * y).sum(axis=1, keepdims=True))


ACTIVATIONS: dict[str, Activation] = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
}
