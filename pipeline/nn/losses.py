"""Losses. Each returns one cost per image and the gradient of that cost in the network's output.

targets: (batch, classes), 1 at each image's class and 0 elsewhere, or smoothed. The cost of a batch
is the mean of its images' costs, so its gradient is the one returned here divided by the number of
images.
"""

from collections.abc import Callable

import numpy as np

from pipeline.nn.layers import Array

Loss = Callable[[Array, Array], tuple[Array, Array]]


def one_hot(labels: Array, classes: int, dtype: np.dtype) -> Array:
    """Return the targets (batch, classes) for labels (batch,)."""
    return np.eye(classes, dtype=dtype)[labels]


def smoothed(targets: Array, share: float) -> Array:
    """Return targets of which a share is spread evenly over all classes.

    A network that reaches such targets is never certain. Reported costs are those of the targets
    themselves. Source: Szegedy et al. 2016, https://arxiv.org/abs/1512.00567, section 7.
    """
    return targets if share == 0 else targets * (1 - share) + share / targets.shape[1]


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the cross-entropy, -log softmax(logits) at the true class, in nats.

    Return costs (batch,) and the gradient softmax(logits) - targets, (batch, classes). Computed
    from logits, the costs can neither overflow nor take the logarithm of 0.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    costs = np.log(total[:, 0]) - (shifted * targets).sum(axis=1)
    return costs, exponentials / total - targets


def mean_squared_error(outputs: Array, targets: Array) -> tuple[Array, Array]:
    """Return the mean over the classes of (output - target)^2.

    Return costs (batch,) and the gradient 2 (outputs - targets) / classes, (batch, classes).
    """
    difference = outputs - targets
    return (difference * difference).mean(axis=1), difference * (2 / outputs.shape[1])


LOSSES: dict[str, Loss] = {
    "cross_entropy": cross_entropy,
    "mean_squared_error": mean_squared_error,
}
