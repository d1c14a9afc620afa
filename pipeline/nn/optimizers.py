"""Optimisers: they know arrays by name and change them in place, nothing else.

Intermediate values go to arrays that an optimiser keeps: fresh ones of a layer's size cost several
times what the arithmetic does.

L2 regularisation adds `l2 * weight` to each weight's gradient (not to biases'), which is the
gradient of `l2 / 2 * sum(weight^2)`. Reported costs are the data's alone, without that term.
"""

from typing import Protocol

import numpy as np

from pipeline.nn.backend import Array, array_module
from pipeline.nn.fused import adam_step, sgd_step
from pipeline.params import VariantSettings


class Optimizer(Protocol):
    """Something that changes parameters by their gradients."""

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Change `parameters` in place."""
        ...

    def state(self) -> dict[str, Array]:
        """Give what earlier steps left behind that later ones depend on, by name; not copied."""
        ...

    def restore(self, state: dict[str, Array]) -> None:
        """Go on as if the steps before `state` had been this optimiser's own; it keeps the arrays.

        Raises LookupError or ValueError for what no optimiser of this kind gave.
        """
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
        self._scratch: dict[str, Array] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Change `parameters` in place."""
        for name, parameter in parameters.items():
            xp = array_module(parameter)
            if name not in self._velocity:
                self._velocity[name] = xp.zeros_like(parameter)
            if name not in self._scratch:
                self._scratch[name] = xp.empty_like(parameter)
            velocity, scratch = self._velocity[name], self._scratch[name]
            l2 = self.l2 if name.endswith("weight") else 0.0
            if xp is not np:
                sgd_step(parameter, gradients[name], velocity, self.lr, self.momentum, l2)
                continue
            gradient = _pulled(gradients[name], parameter, l2, scratch)
            if self.momentum:
                velocity *= self.momentum
                velocity += gradient
                gradient = velocity
            parameter -= np.multiply(gradient, self.lr, out=scratch)

    def state(self) -> dict[str, Array]:
        """Give the velocities."""
        return _labelled("velocity", self._velocity)

    def restore(self, state: dict[str, Array]) -> None:
        """Take velocities over."""
        self._velocity = _unlabelled("velocity", state)


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
        self._scratch: dict[str, tuple[Array, Array]] = {}

    def step(self, parameters: dict[str, Array], gradients: dict[str, Array]) -> None:
        """Change `parameters` in place."""
        self._steps += 1
        correction1 = 1 - self.beta1**self._steps
        correction2 = 1 - self.beta2**self._steps
        for name, parameter in parameters.items():
            xp = array_module(parameter)
            if name not in self._mean:
                self._mean[name] = xp.zeros_like(parameter)
                self._square[name] = xp.zeros_like(parameter)
            if name not in self._scratch:
                self._scratch[name] = xp.empty_like(parameter), xp.empty_like(parameter)
            mean, square = self._mean[name], self._square[name]
            scratch, other = self._scratch[name]
            l2 = self.l2 if name.endswith("weight") else 0.0
            lr = self.lr / correction1
            if xp is not np:
                adam_step(
                    parameter, gradients[name], mean, square,
                    lr, self.beta1, self.beta2, self.epsilon, correction2, l2,
                )  # fmt: skip
                continue
            gradient = _pulled(gradients[name], parameter, l2, scratch)
            mean *= self.beta1
            mean += np.multiply(gradient, 1 - self.beta1, out=other)
            square *= self.beta2
            np.multiply(gradient, gradient, out=other)
            other *= 1 - self.beta2
            square += other
            scale = np.divide(square, correction2, out=other)
            np.sqrt(scale, out=scale)
            scale += self.epsilon
            change = np.multiply(mean, lr, out=scratch)
            change /= scale
            parameter -= change

    def state(self) -> dict[str, Array]:
        """Give the running means and the number of steps."""
        means = _labelled("mean", self._mean) | _labelled("square", self._square)
        return means | {"steps": np.array(self._steps)}

    def restore(self, state: dict[str, Array]) -> None:
        """Take running means and the number of steps over."""
        mean, square = _unlabelled("mean", state), _unlabelled("square", state)
        if mean.keys() != square.keys():
            raise ValueError(f"means of {sorted(mean)} and squares of {sorted(square)}")
        self._mean, self._square, self._steps = mean, square, int(state["steps"])


def _labelled(label: str, arrays: dict[str, Array]) -> dict[str, Array]:
    return {f"{label}.{name}": array for name, array in arrays.items()}


def _unlabelled(label: str, state: dict[str, Array]) -> dict[str, Array]:
    start = f"{label}."
    return {name.removeprefix(start): state[name] for name in state if name.startswith(start)}


def _pulled(gradient: Array, parameter: Array, l2: float, out: Array) -> Array:
    """Give the gradient with the pull of L2 added, in `out`, where there is one."""
    if not l2:
        return gradient
    pulled = np.multiply(parameter, l2, out=out)
    pulled += gradient
    return pulled


def make_optimizer(settings: VariantSettings) -> Optimizer:
    """Build the optimiser that the settings name."""
    if settings.optimizer == "adam":
        return Adam(settings.lr, settings.l2)
    return SGD(settings.lr, settings.momentum, settings.l2)
