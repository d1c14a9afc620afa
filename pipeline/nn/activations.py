"""Activation functions. Each gives its value and its backward pass.

`backward(dy)` turns the gradient of the loss in the output into the gradient in the input.
"""

from collections.abc import Callable

from pipeline.nn.backend import Array, array_module

Backward = Callable[[Array], Array]
Activation = Callable[[Array], tuple[Array, Backward]]


def relu(x: Array) -> tuple[Array, Backward]:
    """max(x, 0), elementwise; the slope at 0 is taken as 0."""
    xp = array_module(x)
    y = xp.maximum(x, 0)
    return y, lambda dy: dy * (y > 0)


def sigmoid(x: Array) -> tuple[Array, Backward]:
    """1 / (1 + exp(-x)), elementwise, written with tanh, which cannot overflow."""
    xp = array_module(x)
    y = 0.5 * xp.tanh(0.5 * x) + 0.5
    return y, lambda dy: dy * y * (1 - y)


def tanh(x: Array) -> tuple[Array, Backward]:
    """Hyperbolic tangent, elementwise."""
    xp = array_module(x)
    y = xp.tanh(x)
    return y, lambda dy: dy * (1 - y * y)


def softmax(x: Array) -> tuple[Array, Backward]:
    """exp(x) over its sum, along each row of (batch, classes)."""
    xp = array_module(x)
    y = xp.exp(x - x.max(axis=1, keepdims=True))  # the largest exponent is 0: no overflow
    y /= y.sum(axis=1, keepdims=True)
    return y, lambda dy: y * (dy - (dy * y).sum(axis=1, keepdims=True))


ACTIVATIONS: dict[str, Activation] = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
}
