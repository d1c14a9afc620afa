"""The layer that learns: an affine map. Forward returns its own backward."""

from collections.abc import Callable

from pipeline.nn.backend import Array, array_module

LinearBackward = Callable[..., tuple[Array | None, dict[str, Array]]]


class Linear:
    """Affine map `x @ weight + bias` from (batch, n_in) to (batch, n_out).

    weight: (n_in, n_out); bias: (n_out,).
    """

    def __init__(self, weight: Array, bias: Array) -> None:
        self.weight = weight
        self.bias = bias

    def forward(self, x: Array, out: Array | None = None) -> tuple[Array, LinearBackward]:
        """Give the output and `backward(dy) -> (dx, {"weight": ..., "bias": ...})`.

        The output is written into `out` where one is given.
        `backward(dy, input_gradient=False)` gives None for dx: nothing lies before a network's
        first layer, and its dx would cost as much as its weight gradient.
        """

        def backward(
            dy: Array, *, input_gradient: bool = True
        ) -> tuple[Array | None, dict[str, Array]]:
            dx = dy @ self.weight.T if input_gradient else None
            return dx, {"weight": x.T @ dy, "bias": dy.sum(axis=0)}

        y = array_module(x).matmul(x, self.weight, out=out)
        y += self.bias
        return y, backward
