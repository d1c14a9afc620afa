"""The optimisers' changes of an array as one launch each on a GPU.

There a launch costs more than the arithmetic of a layer. The formulas are those of `optimizers`,
which tests hold them against.
"""

from collections.abc import Callable
from functools import cache
from types import ModuleType

from pipeline.nn.backend import Array, array_module


def sgd_step(
    parameter: Array, gradient: Array, velocity: Array, lr: float, momentum: float, l2: float
) -> None:
    """Change `parameter` and `velocity` in place."""
    kernel = _compile(
        array_module(parameter),
        "T gradient, T lr, T momentum, T l2",
        "T parameter, T velocity",
        "velocity = momentum * velocity + (l2 * parameter + gradient);"
        "parameter = parameter - lr * velocity",
        "sgd_step",
    )
    kernel(gradient, lr, momentum, l2, parameter, velocity)


def adam_step(
    parameter: Array, gradient: Array, mean: Array, square: Array,
    lr: float, beta1: float, beta2: float, epsilon: float, correction: float, l2: float,
) -> None:  # fmt: skip
    """Change `parameter`, `mean` and `square` in place.

    lr: divided by the mean's correction; correction: of the square.
    """
    kernel = _compile(
        array_module(parameter),
        "T gradient, T lr, T beta1, T beta2, T epsilon, T correction, T l2",
        "T parameter, T mean, T square",
        "T pulled = l2 * parameter + gradient;"
        "mean = beta1 * mean + (1 - beta1) * pulled;"
        "square = beta2 * square + (1 - beta2) * (pulled * pulled);"
        "parameter = parameter - lr * mean / (sqrt(square / correction) + epsilon)",
        "adam_step",
    )
    kernel(gradient, lr, beta1, beta2, epsilon, correction, l2, parameter, mean, square)


@cache
def _compile(
    cupy: ModuleType, inputs: str, outputs: str, code: str, name: str
) -> Callable[..., None]:
    kernel: Callable[..., None] = cupy.ElementwiseKernel(inputs, outputs, code, name)
    return kernel
