"""Optimisers: they know arrays by name and change them in place, nothing else.

L2 regularisation adds `l2 * weight` to each weight's gradient (not to biases'), which is the
gradient of `l2 / 2 * sum(weight^2)`. Reported costs are the data's alone, without that term.
"""

from typing import Protocol

from pipeline.nn.backend import Array, array_module


class Optimizer(Protocol):
    """Something that changes parameters by their gradients."""

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Change `parameters` in place."""
        ...


class SGD:
    """Gradient descent with momentum: v <- momentum * v + g; w <- w - lr * v.

    Source: Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html, equations
    1-2, with the learning rate outside the velocity, as PyTorch writes it.
    """

    def __init__(self, lr: float, momentum: float = 0.0, l2: float = 0.0) -> None:
        self.lr = lr
        self.momentum = momentum
        self.l2 = l2
        self._velocity: dict[str, Array] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Change `parameters` in place."""
        for name, parameter in parameters.items():
            gradient = _with_l2(name, parameter, gradients[name], self.l2)
            if self.momentum:
                if name in self._velocity:
                    velocity = self._velocity[name]
                    velocity *= self.momentum
                    velocity += gradient
                else:
                    velocity = self._velocity[name] = gradient.copy()
                gradient = velocity
            parameter -= self.lr * gradient


class Adam:
    """Steps scaled by running means of the gradient and of its square.

    Source: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1.
    """

    def __init__(
        self,
        lr: float,
        l2: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.lr = lr
        self.l2 = l2
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self._steps = 0
        self._mean: dict[str, Array] = {}
        self._square: dict[str, Array] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Change `parameters` in place."""
        self._steps += 1
        correction1 = 1 - self.beta1**self._steps
        correction2 = 1 - self.beta2**self._steps
        for name, parameter in parameters.items():
            xp = array_module(parameter)
            gradient = _with_l2(name, parameter, gradients[name], self.l2)
            if name not in self._mean:
                self._mean[name] = xp.zeros_like(parameter)
                self._square[name] = xp.zeros_like(parameter)
            mean, square = self._mean[name], self._square[name]
            mean *= self.beta1
            mean += (1 - self.beta1) * gradient
            square *= self.beta2
            square += (1 - self.beta2) * (gradient * gradient)
            scale = xp.sqrt(square / correction2)
            scale += self.epsilon
            parameter -= (self.lr / correction1) * mean / scale


def _with_l2(name: str, parameter: Array, gradient: Array, l2: float) -> Array:
    return gradient + l2 * parameter if l2 and name.endswith("weight") else gradient
