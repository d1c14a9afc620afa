"""The training loop: an epoch after another, and a report of each. It prints and saves nothing.

It can be left after any epoch, and another process can go on from its state to the same bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.datasets.images import PIXELS
from pipeline.errors import TrainingError
from pipeline.machine import physical_memory
from pipeline.nn.devices import Engine, Totals
from pipeline.nn.layers import Array
from pipeline.nn.network import Architecture, Network, initialize_network
from pipeline.nn.streaming import TrainingSet
from pipeline.params import VariantSettings

PARAMETER_BYTES = 24
"""Memory that a parameter takes in training: three copies, its gradient, what Adam remembers."""


@dataclass(frozen=True)
class Score:
    """Mean cost per image, in the unit of the loss, and the share of images classified right."""

    cost: float
    accuracy: float

    @classmethod
    def of(cls, totals: Totals, count: int) -> "Score":
        """Divide the totals of `count` images by their number."""
        return cls(totals[0] / count, totals[1] / count)


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to.

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

    parameters: the network's, by name. optimizer: what `Engine.state` returns. order: the state of
    the bit generator that shuffles images. Arrays are copies.
    """

    reports: tuple[EpochReport, ...]
    parameters: dict[str, Array]
    optimizer: dict[str, Array]
    order: dict[str, Any]


def make_network(
    settings: VariantSettings, classes: int, seed: int
) -> tuple[Network, np.random.Generator]:
    """Draw a variant's first weights; return them and the generator for the order of its images.

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
    return initialize_network(architecture, settings.initializer, weights), order


class Training:
    """A run of training in place, and the reports of its epochs so far."""

    def __init__(
        self,
        engine: Engine,
        settings: VariantSettings,
        training: TrainingSet,
        validation: Any,
        rng: np.random.Generator,
    ) -> None:
        """Prepare to train an engine's network. validation: images that the engine holds."""
        self.settings = settings
        self.reports: list[EpochReport] = []
        self._engine = engine
        self._training = training
        self._validation = validation
        self._rng = rng

    def run(self) -> Iterator[EpochReport]:
        """Train through the epochs that are left, yielding a report after each.

        Mini-batches are drawn without replacement in an order that `rng` shuffles anew each epoch;
        the last one may be smaller. Raises TrainingError when a cost or norm is no longer
        finite.
        """
        engine, settings, training = self._engine, self.settings, self._training
        size = len(training) if settings.batch_size == "all" else settings.batch_size
        for epoch in range(len(self.reports) + 1, settings.epochs + 1):
            cost, hits = 0.0, 0
            for images, order in training.parts(size, self._rng):
                part = engine.train(images, order)
                cost, hits = cost + part[0], hits + part[1]
            report = EpochReport(
                epoch,
                Score.of((cost, hits), len(training)),
                Score.of(engine.measure(self._validation, again=True), len(self._validation)),
                engine.norms("weight"),
                engine.norms("gradient"),
            )
            self._check(report)
            self.reports.append(report)
            yield report

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
                    f"{self.settings.lr:g}; a smaller lr or clip_norm may help"
                )

    def state(self) -> TrainingState:
        """Copy what the next epochs depend on. To be called between epochs."""
        parameters = self._engine.network.parameters
        return TrainingState(
            tuple(self.reports),
            {name: array.copy() for name, array in parameters.items()},
            self._engine.state(),
            dict(self._rng.bit_generator.state),
        )

    def restore(self, state: TrainingState) -> None:
        """Go on after the epochs of `state`, which a run of the same settings and data gave.

        Raises LookupError, TypeError or ValueError where it does not fit, before the network or the
        order is touched: the run can still start from nothing.
        """
        epochs = [report.epoch for report in state.reports]
        if epochs != list(range(1, len(epochs) + 1)) or len(epochs) > self.settings.epochs:
            raise ValueError(f"reports are of epochs {epochs}")
        type(self._rng.bit_generator)().state = state.order  # raises where it does not fit
        self._engine.restore(state.parameters, state.optimizer)
        self._rng.bit_generator.state = state.order
        self.reports = list(state.reports)
