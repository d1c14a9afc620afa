"""Activation functions. Each gives its value and its backward pass.

`backward(dy)` turns the gradient of the loss in the output into the gradient in the input. Both
write their result into `out` where one is given, which may be the argument itself.
"""

from typing import Protocol

import numpy as np

from pipeline.nn.backend import Array, array_module


class Backward(Protocol):
    """The way back through an activation."""

    def __call__(self, dy: Array, out: Array | None = None) -> Array:
        """Give the gradient in the input for the gradient `dy` in the output."""
        ...


class Activation(Protocol):
    """An activation function."""

    def __call__(self, x: Array, out: Array | None = None) -> tuple[Array, Backward]:
        """Give the value at `x` and the way back."""
        ...


def relu(x: Array, out: Array | None = None) -> tuple[Array, Backward]:
    """max(x, 0), elementwise; the slope at 0 is taken as 0."""
    xp = array_module(x)
    # NumPy takes three times as long to compare with the number 0 as with a row of zeros.
    zero = np.zeros(x.shape[1:], x.dtype) if xp is np else 0
    y = xp.maximum(x, zero, out=out)
    return y, lambda dy, out=None: xp.multiply(dy, y > 0, out=out)


def sigmoid(x: Array, out: Array | None = None) -> tuple[Array, Backward]:
    """1 / (1 + exp(-x)), elementwise, written with tanh, which cannot overflow."""
    xp = array_module(x)
    y = xp.multiply(x, 0.5, out=out)
    xp.tanh(y, out=y)
    y *= 0.5
    y += 0.5

    def backward(dy: Array, out: Array | None = None) -> Array:
        dx: Array = xp.multiply(dy, y, out=out)
        dx *= 1 - y
        return dx

    return y, backward


def tanh(x: Array, out: Array | None = None) -> tuple[Array, Backward]:
    """Hyperbolic tangent, elementwise."""
    xp = array_module(x)
    y = xp.tanh(x, out=out)
    return y, lambda dy, out=None: xp.multiply(dy, 1 - y * y, out=out)


def softmax(x: Array, out: Array | None = None) -> tuple[Array, Backward]:
    """exp(x) over its sum, along each row of (batch, classes)."""
    xp = array_module(x)
    y = xp.subtract(x, x.max(axis=1, keepdims=True), out=out)  # so that exp cannot overflow
    xp.exp(y, out=y)
    y /= y.sum(axis=1, keepdims=True)

    def backward(dy: Array, out: Array | None = None) -> Array:
        dx: Array = xp.multiply(y, dy - (dy * y).sum(axis=1, keepdims=True), out=out)
        return dx

    return y, backward


ACTIVATIONS: dict[str, Activation] = {
    "relu": relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "softmax": softmax,
}
