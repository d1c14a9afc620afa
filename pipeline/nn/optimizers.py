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

    lr: float
    """The learning rate of the next step."""

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Update `parameters` in place."""
        ...


class SGD:
    """Gradient descent with momentum: v <- momentum * v + g; w <- w - lr * v.

    Nesterov's momentum looks ahead: w <- w - lr * (momentum * v + g), with the new v.

    Source: Sutskever et al. 2013, https://proceedings.mlr.press/v28/sutskever13.html, equations
    1-4, with the learning rate outside the velocity, as PyTorch writes it.
    """

    def __init__(
        self, lr: float, momentum: float = 0.0, l2: float = 0.0, *, nesterov: bool = False
    ) -> None:
        self.lr = lr
        self.momentum = momentum
        self.l2 = l2
        self.nesterov = nesterov
        self.velocity: dict[str, Array] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Update `parameters` in place."""
        for name, parameter in parameters.items():
            l2 = self.l2 if name.endswith("weight") else 0.0
            pulled = gradients[name] + l2 * parameter
            change = pulled
            if name in self.velocity:
                change = self.momentum * self.velocity[name] + pulled
            self.velocity[name] = change
            if self.nesterov:
                change = self.momentum * change + pulled
            parameter -= self.lr * change


class Adam:
    """Adam: steps scaled by running means of the gradient and of its square.

    With `decay` it is AdamW: before each step, weights (not biases) shrink by lr * decay. Unlike
    `l2`, this is the same for all weights, however large their gradients are.

    Sources: Kingma and Ba 2015, https://arxiv.org/abs/1412.6980, algorithm 1; Loshchilov and Hutter
    2019, https://arxiv.org/abs/1711.05101, algorithm 2.
    """

    def __init__(
        self,
        lr: float,
        l2: float = 0.0,
        decay: float = 0.0,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        self.lr = lr
        self.l2 = l2
        self.decay = decay
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
            is_weight = name.endswith("weight")
            gradient = gradients[name] + (self.l2 if is_weight else 0.0) * parameter
            mean = self.beta1 * self.mean.get(name, 0.0) + (1 - self.beta1) * gradient
            square = self.beta2 * self.square.get(name, 0.0) + (1 - self.beta2) * gradient**2
            self.mean[name], self.square[name] = mean, square
            size = np.sqrt(square) / np.sqrt(correction2) + self.epsilon
            if is_weight:
                parameter *= 1 - self.lr * self.decay
            parameter -= self.lr / correction1 * mean / size


def make_optimizer(settings: VariantSettings) -> Optimizer:
    """Return the optimiser that the settings name."""
    if settings.optimizer == "sgd":
        return SGD(settings.lr, settings.momentum, settings.l2, nesterov=settings.nesterov)
    return Adam(settings.lr, settings.l2, settings.weight_decay, settings.beta1, settings.beta2)
