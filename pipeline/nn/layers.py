"""The layer with parameters: an affine map. Forward returns its own backward pass."""

from collections.abc import Callable
from typing import Any

from numpy.typing import NDArray

Array = NDArray[Any]
LinearBackward = Callable[..., tuple[Array | None, dict[str, Array]]]


class Linear:
    """Affine map `x @ weight + bias` from (batch, n_in) to (batch, n_out).

    weight: (n_in, n_out); bias: (n_out,).
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight = weight
        self.bias = bias

    def forward(self, x: Array) -> tuple[Array, LinearBackward]:
        """Return the output and `backward(dy) -> (dx, {"weight": ..., "bias": ...})`.

        `backward(dy, input_gradient=False)` returns None for dx. The first layer of a network needs
        no dx, and computing it would cost as much as the weight gradient.
        """

        def backward(
            dy: Array, *, input_gradient: bool = True
        ) -> tuple[Array | None, dict[str, Array]]:
            dx = dy @ self.weight.T if input_gradient else None
            return dx, {"weight": x.T @ dy, "bias": dy.sum(axis=0)}

        return x @ self.weight + self.bias, backward
