"""Losses. Each gives one cost an image and the gradient of that cost in the network's output.

The cost of a batch is the mean of its images' costs, so its gradient is this one over the number
of images.
"""

from collections.abc import Callable

from pipeline.nn.backend import Array, array_module

Loss = Callable[[Array, Array], tuple[Array, Array]]


def cross_entropy(logits: Array, labels: Array) -> tuple[Array, Array]:
    """-log softmax(logits) at the true class, in nats.

    logits: (batch, classes); labels: (batch,) integers. Gives costs (batch,) and the gradient
    softmax(logits) - one_hot(labels), (batch, classes). From logits, neither can overflow nor take
    the logarithm of 0.
    """
    xp = array_module(logits)
    rows = xp.arange(len(logits))
    shifted = logits - logits.max(axis=1, keepdims=True)
    true_class = shifted[rows, labels]
    gradient = xp.exp(shifted)
    total = gradient.sum(axis=1, keepdims=True)
    gradient /= total
    gradient[rows, labels] -= 1
    return xp.log(total[:, 0]) - true_class, gradient


def mean_squared_error(outputs: Array, labels: Array) -> tuple[Array, Array]:
    """Mean over the classes of (output - one_hot(label))^2.

    outputs: (batch, classes); labels: (batch,) integers. Gives costs (batch,) and the gradient
    2 (outputs - one_hot(labels)) / classes, (batch, classes).
    """
    xp = array_module(outputs)
    difference = outputs.copy()
    difference[xp.arange(len(outputs)), labels] -= 1
    return (difference * difference).mean(axis=1), difference * (2 / outputs.shape[1])


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "mean_squared_error": mean_squared_error,
}
