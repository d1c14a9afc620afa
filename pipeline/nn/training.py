"""The training loop: batches, gradients, steps, a report an epoch. It prints and saves nothing.

It can be left after any epoch, and another process can go on from its state to the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.datasets.images import PIXELS
from pipeline.errors import TrainingError
from pipeline.nn.backend import Array, Device, array_module, physical_memory, to_host
from pipeline.nn.batches import Batch, TrainingSet
from pipeline.nn.network import Architecture, Gradients, Network, initialize_network
from pipeline.nn.parallel import Workers
from pipeline.nn.steps import Steps, Totals, add_totals, quiet, totals_of
from pipeline.params import VariantSettings

PARAMETER_BYTES = 20
"""Memory that a parameter takes in training: itself, gradients of three tiles, and a velocity."""


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


@dataclass(frozen=True)
class TrainingState:
    """All that decides how training goes on after an epoch, and what it reported so far.

    vector: the network's parameters, in one piece. optimizers: what `Steps.state` gives. order: the
    state of the bit generator that shuffles batches. Arrays are NumPy's, and copies.
    """

    reports: tuple[EpochReport, ...]
    vector: Array
    optimizers: dict[str, Array]
    order: dict[str, Any]


def make_network(
    settings: VariantSettings, classes: int, seed: int, device: Device
) -> tuple[Network, np.random.Generator]:
    """Draw a variant's first weights; give them and the generator for the order of its batches.

    The two have streams of their own: another batch size does not change the first weights.
    Raises TrainingError for a network that the machine's memory cannot hold.
    """
    weights, order = np.random.default_rng(seed).spawn(2)
    architecture = Architecture(
        (PIXELS, *settings.hidden, classes), settings.activation, settings.output, settings.loss
    )
    count, memory = architecture.parameter_count(), physical_memory()
    if count * PARAMETER_BYTES > memory:
        raise TrainingError(
            f"hidden makes a network of {count:,} parameters, which needs about "
            f"{count * PARAMETER_BYTES >> 30} GiB of memory; this machine has {memory >> 30} GiB"
        )
    return initialize_network(architecture, settings.initializer, weights, device), order


class Training:
    """A run of training in place, and the reports of its epochs so far."""

    def __init__(
        self,
        network: Network,
        settings: VariantSettings,
        training: TrainingSet,
        validation: Batch,
        rng: np.random.Generator,
        workers: Workers,
    ) -> None:
        self.network = network
        self.settings = settings
        self.reports: list[EpochReport] = []
        self._training = training
        self._validation = validation
        self._rng = rng
        self._workers = workers
        self._steps = Steps(network, settings, workers)

    def run(self) -> Iterator[EpochReport]:
        """Train through the epochs that are left, yielding a report after each.

        Mini-batches are drawn without replacement in an order that `rng` shuffles anew each epoch;
        the last one may be smaller. Raises TrainingError when a cost or norm is no longer
        finite.
        """
        network, settings, training = self.network, self.settings, self._training
        size = len(training) if settings.batch_size == "all" else settings.batch_size
        for epoch in range(len(self.reports) + 1, settings.epochs + 1):
            cost, correct = self._steps.epoch(training.batches(size, self._rng))
            report = EpochReport(
                epoch,
                Score(float(cost) / len(training), float(correct) / len(training)),
                score(network, self._validation, self._workers),
                _weight_norms(network.parameters),
                _weight_norms(self._steps.gradients),
            )
            for what, values in (
                ("training cost", (report.train.cost,)),
                ("validation cost", (report.validation.cost,)),
                ("norm of a layer's weights", report.weight_norms),
                ("norm of a layer's gradients", report.gradient_norms),
            ):
                if not np.isfinite(values).all():
                    raise TrainingError(
                        f"the {what} is {np.max(values)} in epoch {epoch} with lr "
                        f"{settings.lr:g}; a smaller lr or clip_norm may help"
                    )
            self.reports.append(report)
            yield report

    def state(self) -> TrainingState:
        """Copy what the next epochs depend on. To be called between epochs."""
        return TrainingState(
            tuple(self.reports),
            to_host(self.network.vector).copy(),
            {name: to_host(array).copy() for name, array in self._steps.state().items()},
            dict(self._rng.bit_generator.state),
        )

    def restore(self, state: TrainingState) -> None:
        """Go on after the epochs of `state`, which a run of the same settings and data gave.

        Raises LookupError, TypeError or ValueError where it does not fit, before the network or its
        first batches are touched: the run can still start from nothing.
        """
        vector = self.network.vector
        if (state.vector.shape, state.vector.dtype) != (vector.shape, vector.dtype):
            raise ValueError(f"vector is {state.vector.dtype} of shape {state.vector.shape}")
        epochs = [report.epoch for report in state.reports]
        if epochs != list(range(1, len(epochs) + 1)) or len(epochs) > self.settings.epochs:
            raise ValueError(f"reports are of epochs {epochs}")
        steps = Steps(self.network, self.settings, self._workers)
        steps.restore(state.optimizers)
        type(self._rng.bit_generator)().state = state.order  # raises where it does not fit
        self._rng.bit_generator.state = state.order
        self._steps = steps
        vector[...] = array_module(vector).asarray(state.vector)
        self.reports = list(state.reports)


def train(
    network: Network,
    settings: VariantSettings,
    training: TrainingSet,
    validation: Batch,
    rng: np.random.Generator,
    workers: Workers,
) -> Iterator[EpochReport]:
    """Train `network` in place from its first epoch to its last, as `Training.run` does."""
    return Training(network, settings, training, validation, rng, workers).run()


def score(network: Network, batch: Batch, workers: Workers) -> Score:
    """Measure the mean cost and the accuracy on a set of examples."""
    totals = tile_totals(network, batch, workers.tiles(len(batch)), workers)
    return mean_score(totals, len(batch))


def tile_totals(
    network: Network, batch: Batch, tiles: list[slice], workers: Workers
) -> list[Totals]:
    """Give the sum of the costs and the number of right answers in each tile of a batch."""
    totals: list[Totals] = [(0.0, 0)] * len(tiles)

    def measure(index: int) -> None:
        with quiet():
            labels = batch.labels[tiles[index]]
            outputs, _ = network.forward(batch.inputs[tiles[index]])
            costs, _ = network.loss(outputs, labels)
            totals[index] = totals_of(costs, outputs, labels)

    workers.run(measure, len(tiles))
    return totals


def mean_score(totals: list[Totals], count: int) -> Score:
    """Put the tiles of `count` examples together, in their order."""
    cost, correct = add_totals(totals)
    return Score(float(cost) / count, float(correct) / count)


def _weight_norms(arrays: Gradients) -> tuple[float, ...]:
    """Give the norm of every layer's weights, first layer first, read back from a GPU at once."""
    layers = len(arrays) // 2
    weights = [arrays[f"layer{number}.weight"] for number in range(1, layers + 1)]
    xp = array_module(weights[0])
    with quiet():
        # In float32 the squares of 1e20 are infinite.
        squares = xp.stack([xp.square(weight, dtype=np.float64).sum() for weight in weights])
        return tuple(np.sqrt(to_host(squares)).tolist())
