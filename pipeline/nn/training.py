"""The training loop: batches, gradients, steps, a report an epoch. It prints and saves nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.datasets.images import PIXELS
from pipeline.errors import TrainingError
from pipeline.nn.backend import Array, Device
from pipeline.nn.gradients import clip_by_norm, clip_by_value
from pipeline.nn.network import Architecture, Gradients, Network, initialize_network
from pipeline.nn.optimizers import SGD, Adam, Optimizer
from pipeline.nn.parallel import Workers
from pipeline.params import VariantSettings


@dataclass(frozen=True)
class Batch:
    """Inputs (n, pixels) and integer labels (n,), both on the training device."""

    inputs: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, size: int, rng: np.random.Generator) -> Iterator["Batch"]:
        """Yield all examples once, in batches of `size` (the last may be smaller), shuffled anew.

        A single batch is given as it is: the order of its examples means nothing.
        """
        if size >= len(self):
            yield self
            return
        order = rng.permutation(len(self))
        for start in range(0, len(self), size):
            rows = order[start : start + size]
            yield Batch(self.inputs[rows], self.labels[rows])


@dataclass(frozen=True)
class Score:
    """Mean cost an image, in the unit of the loss, and the share of images classified right."""

    cost: float
    accuracy: float


@dataclass(frozen=True)
class EpochReport:
    """What an epoch gave.

    train: mean over the epoch's batches, each measured before its own step, so the first epoch of a
    full-batch run shows the network as it was drawn. validation: measured after the last step.
    weight_norms: Euclidean norm of each layer's weights after the epoch; gradient_norms: of each
    layer's weight gradient in the epoch's last step, before clipping.
    """

    epoch: int
    train: Score
    validation: Score
    weight_norms: tuple[float, ...]
    gradient_norms: tuple[float, ...]


def put_batch(device: Device, inputs: Array, labels: Array) -> Batch:
    """Copy a set of examples to the device, once."""
    return Batch(device.put(inputs), device.put(labels.astype(np.int64)))


def make_network(
    settings: VariantSettings, classes: int, seed: int, device: Device
) -> tuple[Network, np.random.Generator]:
    """Draw a variant's first weights; give them and the generator for the order of its batches.

    The two have streams of their own: another batch size does not change the first weights.
    """
    weights, order = np.random.default_rng(seed).spawn(2)
    architecture = Architecture(
        (PIXELS, *settings.hidden, classes), settings.activation, settings.output, settings.loss
    )
    return initialize_network(architecture, settings.initializer, weights, device), order


def make_optimizer(settings: VariantSettings) -> Optimizer:
    """Build the optimiser that the settings name."""
    if settings.optimizer == "adam":
        return Adam(settings.lr, settings.l2)
    return SGD(settings.lr, settings.momentum, settings.l2)


def make_clip(settings: VariantSettings) -> Callable[[Gradients], Gradients]:
    """Build the limit on gradients that the settings ask for: by value, by norm, both or none."""

    def clip(gradients: Gradients) -> Gradients:
        if settings.clip_value is not None:
            gradients = clip_by_value(gradients, settings.clip_value)
        if settings.clip_norm is not None:
            gradients = clip_by_norm(gradients, settings.clip_norm)
        return gradients

    return clip


def train(
    network: Network,
    settings: VariantSettings,
    training: Batch,
    validation: Batch,
    rng: np.random.Generator,
    workers: Workers,
) -> Iterator[EpochReport]:
    """Train `network` in place, yielding a report after each epoch.

    Mini-batches are drawn without replacement in an order that `rng` shuffles anew each epoch;
    the last one may be smaller. Raises TrainingError when a cost is no longer finite.
    """
    optimizer = make_optimizer(settings)
    clip = make_clip(settings)
    size = len(training) if settings.batch_size == "all" else settings.batch_size
    for epoch in range(1, settings.epochs + 1):
        cost, correct = 0.0, 0
        for batch in training.batches(size, rng):
            batch_cost, batch_correct, gradients = batch_gradients(network, batch, workers)
            with _quiet():
                optimizer.step(network.parameters, clip(gradients))
            cost += batch_cost
            correct += batch_correct
        report = EpochReport(
            epoch,
            Score(float(cost) / len(training), float(correct) / len(training)),
            score(network, validation, workers),
            _weight_norms(network.parameters),
            _weight_norms(gradients),
        )
        for costs, part in ((report.train, "training"), (report.validation, "validation")):
            if not np.isfinite(costs.cost):
                raise TrainingError(
                    f"the {part} cost is {costs.cost} in epoch {epoch} with lr {settings.lr:g}; "
                    "a smaller lr or clip_norm may help"
                )
        yield report


def batch_gradients(network: Network, batch: Batch, workers: Workers) -> tuple[Any, Any, Gradients]:
    """Give a batch's summed cost, its count of right answers, and the gradients of its mean cost.

    The gradients are sums over fixed tiles of rows, added in the tiles' order.
    """
    count = len(batch)

    def tile_gradients(tile: slice) -> tuple[Any, Any, Gradients]:
        with _quiet():
            labels = batch.labels[tile]
            outputs, backward = network.forward(batch.inputs[tile])
            costs, dy = network.loss(outputs, labels)
            dy *= 1 / count
            return *_totals(costs, outputs, labels), backward(dy)

    cost, correct, total = 0.0, 0, None
    for tile_cost, tile_correct, gradients in workers.map(tile_gradients, count):
        cost += tile_cost
        correct += tile_correct
        if total is None:
            total = gradients
        else:
            for name, gradient in gradients.items():
                total[name] += gradient
    return cost, correct, total or {}


def score(network: Network, batch: Batch, workers: Workers) -> Score:
    """Measure the mean cost and the accuracy on a set of examples."""

    def tile_score(tile: slice) -> tuple[Any, Any]:
        with _quiet():
            labels = batch.labels[tile]
            outputs, _ = network.forward(batch.inputs[tile])
            costs, _ = network.loss(outputs, labels)
            return _totals(costs, outputs, labels)

    cost, correct = 0.0, 0
    for tile_cost, tile_correct in workers.map(tile_score, len(batch)):
        cost += tile_cost
        correct += tile_correct
    return Score(float(cost) / len(batch), float(correct) / len(batch))


def _weight_norms(arrays: Gradients) -> tuple[float, ...]:
    """Give the norm of every layer's weights, first layer first."""
    layers = len(arrays) // 2
    with _quiet():
        return tuple(
            float((arrays[f"layer{number}.weight"] ** 2).sum() ** 0.5)
            for number in range(1, layers + 1)
        )


def _totals(costs: Array, outputs: Array, labels: Array) -> tuple[Any, Any]:
    """Sum costs in float64 and count right answers, left on the device until an epoch ends."""
    return costs.sum(dtype=np.float64), (outputs.argmax(axis=1) == labels).sum()


def _quiet() -> np.errstate:
    """Let a diverging run overflow without warnings: its cost is checked after every epoch."""
    return np.errstate(over="ignore", invalid="ignore")
