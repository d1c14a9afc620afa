"""Optimisers. They update parameters in place, by name, from the gradients of the same names.

L2 regularisation adds `l2 * weight` to the gradient of each weight, but not of the biases. This is
the gradient of `l2 / 2 * sum(weight^2)`. Reported costs do not include that term.
"""

from typing import Protocol

import numpy as np

from pipeline.base.params import VariantSettings
from pipeline.nn.layers import Array


class Optimizer(Protocol):
    """Anything that updates parameters from their gradients."""

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Update `parameters` in place."""
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
        self.velocity: dict[str, Array] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Update `parameters` in place."""
        for name, parameter in parameters.items():
            l2 = self.l2 if name.endswith("weight") else 0.0
            change = gradients[name] + l2 * parameter
            if name in self.velocity:
                change = self.momentum * self.velocity[name] + change
            self.velocity[name] = change
            parameter -= self.lr * change


class Adam:
    """Adam: steps scaled by running means of the gradient and of its square.

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
        self.steps = 0
        self.mean: dict[str, Array] = {}
        self.square: dict[str, Array] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Update `parameters` in place."""
        self.steps += 1
        correction1 = 1 - self.beta1**self.steps
        correction2 = 1 - self.beta2**self.steps
        for name, parameter in parameters.items():
            l2 = self.l2 if name.endswith("weight") else 0.0
            gradient = gradients[name] + l2 * parameter
            mean = self.beta1 * self.mean.get(name, 0.0) + (1 - self.beta1) * gradient
            square = self.beta2 * self.square.get(name, 0.0) + (1 - self.beta2) * gradient**2
            self.mean[name], self.square[name] = mean, square
            size = np.sqrt(square / correction2) + self.epsilon
            parameter -= self.lr / correction1 * mean / size


def make_optimizer(settings: VariantSettings) -> Optimizer:
    """Return the optimiser that the settings name."""
    if settings.optimizer == "adam":
        return Adam(settings.lr, settings.l2)
    return SGD(settings.lr, settings.momentum, settings.l2)
