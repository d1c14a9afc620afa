"""The training loop. It yields a report per epoch, and neither prints nor saves anything.

It can stop after any epoch; another process can resume from its state with the same results, byte
for byte.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import TrainingError, exact
from pipeline.base.machine import physical_memory
from pipeline.base.params import Augment, VariantSettings
from pipeline.datasets.augment import Distortions
from pipeline.datasets.draws import key_of
from pipeline.datasets.images import PIXELS
from pipeline.nn.devices import Draws, Engine, Totals
from pipeline.nn.dropout import keys
from pipeline.nn.layers import Array
from pipeline.nn.network import Architecture, Network, initialize_network
from pipeline.nn.schedules import rates
from pipeline.nn.snapshots import Snapshots
from pipeline.nn.streaming import TrainingSet

PARAMETER_BYTES = 24
"""Memory per parameter during training: three copies, the gradient, two moments of Adam."""


@dataclass(frozen=True)
class Score:
    """Mean cost per image, in the unit of the loss, and fraction of images classified correctly."""

    cost: float
    accuracy: float

    @classmethod
    def of(cls, totals: Totals, count: int) -> "Score":
        """Return the totals of `count` images divided by their number."""
        return cls(totals[0] / count, totals[1] / count)


@dataclass(frozen=True)
class EpochReport:
    """The results of one epoch.

    train: mean over the epoch's batches, each measured before its own step, so the first epoch of a
    full-batch run measures the initial network. validation: measured after the last step.
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
    """Everything that determines how training continues after an epoch, and its reports so far.

    parameters: the network's, by name. optimizer: as returned by `Engine.state`. order: state of
    the bit generator that shuffles the images. best: the parameters with the lowest validation cost
    so far, if that epoch is to be kept. snapshots: as returned by `Snapshots.state`. Arrays are
    copies.
    """

    reports: tuple[EpochReport, ...]
    parameters: dict[str, Array]
    optimizer: dict[str, Array]
    order: dict[str, Any]
    best: dict[str, Array] = field(default_factory=dict)
    snapshots: dict[str, Array] = field(default_factory=dict)


def make_network(
    settings: VariantSettings, classes: int, seed: int
) -> tuple[Network, np.random.Generator]:
    """Return a variant's network with its initial weights, and the generator for the image order.

    Weights and order have independent random streams, so the batch size does not affect the initial
    weights. Raises TrainingError if the network does not fit into this machine's memory.
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
    return initialize_network(architecture, settings.initializer, weights), order


class Training:
    """A training run that updates its network in place, and the reports of its epochs so far."""

    def __init__(
        self,
        engine: Engine,
        settings: VariantSettings,
        training: TrainingSet,
        validation: Any,
        rng: np.random.Generator,
        snapshots: Snapshots | None = None,
    ) -> None:
        """Prepare to train an engine's network.

        validation: images held by the engine. snapshots: of these images, to be taken on the way.
        """
        self.settings = settings
        self.reports: list[EpochReport] = []
        self._engine = engine
        self._training = training
        self._validation = validation
        self._rng = rng
        self._best: dict[str, Array] = {}
        self._key = key_of(rng)
        self._distortions = Distortions(settings.augment or Augment(), self._key)
        self._snapshots = snapshots
        self._take_snapshot(0)

    @property
    def kept(self) -> int:
        """The number of the epoch whose weights the network keeps."""
        return self._lowest if self.settings.keep == "best" else len(self.reports)

    @property
    def finished(self) -> bool:
        """Whether all epochs have been run, or `patience` ended the run."""
        patience, done = self.settings.patience, len(self.reports)
        impatient = patience is not None and done > 0 and done - self._lowest >= patience
        return impatient or done >= self.settings.epochs

    @property
    def _lowest(self) -> int:
        """The number of the first epoch with the lowest validation cost, or 0 before any."""
        costs = [report.validation.cost for report in self.reports]
        return 1 + costs.index(min(costs)) if costs else 0

    def epochs(self) -> Iterator[EpochReport]:
        """Train for the remaining epochs, yielding a report after each.

        Every epoch draws mini-batches without replacement, in a new order from `rng`; the last
        batch may be smaller. Afterwards the network has the weights of the epoch `kept`. Raises
        TrainingError if a cost or norm is no longer finite.
        """
        engine, best = self._engine, self.settings.keep == "best"
        while not self.finished:
            report = self._epoch(len(self.reports) + 1)
            self._check(report)
            self.reports.append(report)
            if best and self.kept == report.epoch:
                self._best = _copies(engine.network.parameters)
            self._take_snapshot(report.epoch, last=self.finished)
            yield report
        if best:
            engine.restore(self._best, engine.state())
            self._take_snapshot(self.kept, last=True)

    def _take_snapshot(self, epoch: int, *, last: bool = False) -> None:
        if self._snapshots is not None and self._snapshots.lacks(epoch, last=last):
            probabilities = self._engine.probabilities(self._validation)
            self._snapshots.take(epoch, self._engine.network, probabilities)

    def _epoch(self, epoch: int) -> EpochReport:
        engine, settings, training = self._engine, self.settings, self._training
        size = len(training) if settings.batch_size == "all" else settings.batch_size
        steps = math.ceil(len(training) / size)
        step, cost, hits = (epoch - 1) * steps, 0.0, 0
        for images, order, numbers in training.parts(size, self._rng):
            count = math.ceil(len(images) / size)
            lr = rates(settings, step, count, steps * settings.epochs)
            part = engine.train(images, order, lr, self._draws(epoch, numbers))
            step, cost, hits = step + count, cost + part[0], hits + part[1]
        return EpochReport(
            epoch,
            Score.of((cost, hits), len(training)),
            Score.of(engine.measure(self._validation, again=True), len(self._validation)),
            engine.norms("weight"),
            engine.norms("gradient"),
        )

    def _draws(self, epoch: int, numbers: NDArray[np.int64]) -> Draws:
        settings, distortions, fields, drops = self.settings, None, None, None
        if settings.augment is not None:
            distortions = self._distortions.draw(epoch, numbers)
            fields = self._distortions.fields
        if settings.dropout and settings.hidden:
            drops = keys(self._key, epoch, numbers, len(settings.hidden))
        return Draws(distortions, fields, drops)

    def _check(self, report: EpochReport) -> None:
        for what, values in (
            ("training cost", (report.train.cost,)),
            ("validation cost", (report.validation.cost,)),
            ("norm of a layer's weights", report.weight_norms),
            ("norm of a layer's gradients", report.gradient_norms),
        ):
            if not np.isfinite(values).all():
                raise TrainingError(
                    f"the {what} is {np.max(values)} in epoch {report.epoch} with lr "
                    f"{exact(self.settings.lr)}; a smaller lr or clip_norm may help"
                )

    def state(self) -> TrainingState:
        """Return a copy of everything the next epochs depend on. Call it between epochs."""
        return TrainingState(
            tuple(self.reports),
            _copies(self._engine.network.parameters),
            self._engine.state(),
            dict(self._rng.bit_generator.state),
            _copies(self._best),
            {} if self._snapshots is None else self._snapshots.state(),
        )

    def restore(self, state: TrainingState) -> None:
        """Continue after the epochs of `state`, from a run with the same settings and data.

        Raises LookupError, TypeError or ValueError if the state does not fit. The network and the
        order are then unchanged, and the run can still start from the beginning.
        """
        epochs = [report.epoch for report in state.reports]
        if epochs != list(range(1, len(epochs) + 1)) or len(epochs) > self.settings.epochs:
            raise ValueError(f"reports are of epochs {epochs}")
        own = self._engine.network.parameters
        if self.settings.keep == "best" and _shapes(state.best) != _shapes(own):
            raise ValueError("the parameters of the best epoch do not fit")
        type(self._rng.bit_generator)().state = state.order  # raises where it does not fit
        if self._snapshots is not None:
            self._snapshots.check(state.snapshots, len(epochs))
        self._engine.restore(state.parameters, state.optimizer)
        if self._snapshots is not None:
            self._snapshots.restore(state.snapshots)
        self._rng.bit_generator.state = state.order
        self.reports, self._best = list(state.reports), _copies(state.best)


def _copies(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array.copy() for name, array in arrays.items()}


def _shapes(arrays: Mapping[str, Array]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}
