"""A plain NumPy loop as in tutorials and published projects: whole batches in float64.

A step is a forward pass, one-hot labels, a backward pass and an update. BLAS chooses its kernels
and its number of threads.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from benchmarks.job import Epoch, Epochs, Job

Array = NDArray[Any]
Layers = list[tuple[Array, Array]]


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    return prepare(job, np.float64, np.asarray)


def prepare(job: Job, dtype: DTypeLike, hold: Callable[[Array], Any]) -> Epochs:
    """Prepare to train a variant with one data type.

    hold: converts inputs (N, 784) to the matrix that the first layer multiplies.
    """
    settings, size, count = job.settings, job.batch_size, len(job.labels)
    x, y = hold(job.inputs.astype(dtype)), job.labels
    validation_x = hold(job.validation_inputs.astype(dtype))

    def epochs(scored: int) -> Iterator[Epoch]:
        layers: Layers = [(w.astype(dtype), b.astype(dtype)) for w, b in job.weights]
        velocities = [(np.zeros_like(w), np.zeros_like(b)) for w, b in layers]
        one_hot = np.eye(job.classes, dtype=dtype)
        rng = job.order()
        while True:
            total, right = 0.0, 0.0
            order = rng.permutation(count) if size < count else None
            for start in range(0, count, size):
                rows = slice(None) if order is None else order[start : start + size]
                batch, labels = x[rows], y[rows]
                activations = forward(layers, batch, settings)
                cost, accuracy = score(activations[-1], labels, one_hot[labels], settings)
                total += cost * len(labels)
                right += accuracy * len(labels)
                gradients = backward(layers, activations, one_hot[labels], settings)
                update(layers, gradients, velocities, settings)
            labels = job.validation_labels[:scored]
            outputs = forward(layers, validation_x[:scored], settings)[-1]
            yield Epoch(
                total / count, right / count, *score(outputs, labels, one_hot[labels], settings)
            )

    return epochs


def forward(layers: Layers, x: Any, settings: dict[str, Any]) -> list[Any]:
    """Return the input and the activations of every layer."""
    activations = [x]
    for number, (weight, bias) in enumerate(layers, start=1):
        z = activations[-1] @ weight + bias
        kind = settings["activation"] if number < len(layers) else settings["output"]
        if kind == "relu":
            a = np.maximum(0, z)
        elif kind == "tanh":
            a = np.tanh(z)
        elif kind == "sigmoid":
            a = 1 / (1 + np.exp(-z))
        else:
            exponentials = np.exp(z - z.max(axis=1, keepdims=True))
            a = exponentials / exponentials.sum(axis=1, keepdims=True)
        activations.append(a)
    return activations


def score(
    outputs: Array, labels: NDArray[np.int64], one_hot: Array, settings: dict[str, Any]
) -> tuple[float, float]:
    """Return the mean cost and the accuracy."""
    if settings["loss"] == "cross_entropy":
        cost = float(-np.sum(one_hot * np.log(outputs + 1e-12)) / len(labels))
    else:
        cost = float(np.mean((outputs - one_hot) ** 2))
    return cost, float(np.mean(outputs.argmax(axis=1) == labels))


def backward(
    layers: Layers, activations: list[Any], one_hot: Array, settings: dict[str, Any]
) -> Layers:
    """Return the gradients of the mean cost, from the first layer to the last."""
    outputs = activations[-1]
    if settings["loss"] == "cross_entropy":
        dz = (outputs - one_hot) / len(one_hot)
    else:
        dz = 2 * (outputs - one_hot) / one_hot.size * outputs * (1 - outputs)
    gradients: Layers = []
    for number in range(len(layers) - 1, -1, -1):
        a = activations[number]
        gradients.insert(0, (a.T @ dz, dz.sum(axis=0)))
        if number:
            dz = (dz @ layers[number][0].T) * slope(a, settings["activation"])
    return gradients


def slope(a: Array, activation: str) -> NDArray[Any]:
    """Return the derivative of an activation function where its value is `a`."""
    if activation == "relu":
        return a > 0
    return a * (1 - a) if activation == "sigmoid" else 1 - a**2


def update(layers: Layers, gradients: Layers, velocities: Layers, settings: dict[str, Any]) -> None:
    """Take a step of gradient descent, with the variant's clipping, L2 and momentum."""
    limit, momentum, lr = settings["clip_value"], settings["momentum"], settings["lr"]
    for layer, gradient, velocity in zip(layers, gradients, velocities, strict=True):
        for parameter, g, v in zip(layer, gradient, velocity, strict=True):
            if limit is not None:
                g = np.clip(g, -limit, limit)
            if settings["l2"] and parameter.ndim == 2:
                g = g + settings["l2"] * parameter
            if momentum:
                v *= momentum
                v += g
                g = v
            parameter -= lr * g
