"""The definition on a GPU: NumPy functions called with CuPy arrays dispatch to CuPy.

Source: NEP 13 and NEP 18, https://numpy.org/neps/nep-0018-array-function-protocol.html
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DeviceError
from pipeline.base.params import VariantSettings
from pipeline.nn.devices import NO_DRAWS, Blocks, Draws, Totals
from pipeline.nn.dropout import factors
from pipeline.nn.gpu.device import check_memory, get, put
from pipeline.nn.gradients import clip
from pipeline.nn.layers import Array
from pipeline.nn.losses import one_hot, smoothed
from pipeline.nn.network import Network
from pipeline.nn.optimizers import make_optimizer

MEASURED = 8192
"""Number of images measured at a time."""
_MOMENTS = {"velocity", "mean", "square"}
"""The optimisers' state for each parameter."""


@dataclass(frozen=True)
class _Images:
    inputs: Array
    targets: Array

    def __len__(self) -> int:
        return len(self.inputs)


class GpuEngine:
    """Trains or applies a network on a GPU."""

    def __init__(self, network: Network, settings: VariantSettings | None = None) -> None:
        self.network = network
        self._settings = settings
        self._own = Network(
            network.architecture, {name: put(array) for name, array in network.parameters.items()}
        )
        self._optimizer = None if settings is None else make_optimizer(settings)
        self._gradients: dict[str, Array] = {}

    def hold(
        self,
        blocks: Blocks,
        count: int,  # noqa: ARG002  # part of Engine
        table: NDArray[np.float32] | None = None,  # noqa: ARG002
    ) -> _Images:
        """Copy images to the GPU. Raises DeviceError if they do not fit."""
        inputs, labels = zip(*blocks, strict=True)
        classes = self.network.architecture.sizes[-1]
        targets = one_hot(np.concatenate(labels), classes, np.dtype(np.float32))
        return _Images(put(np.concatenate(inputs)), put(targets))

    def train(
        self,
        images: _Images,
        order: NDArray[np.int64] | None,
        rates: NDArray[np.float64],
        draws: Draws = NO_DRAWS,
    ) -> Totals:
        """Take one step per batch. Raises DeviceError if a batch does not fit, or with augment."""
        if draws.distortions is not None:
            raise DeviceError("augment needs device cpu")
        settings, network, optimizer = self._settings, self._own, self._optimizer
        if settings is None or optimizer is None:
            raise ValueError("an engine without settings does not train")
        whole = order is None or settings.batch_size == "all"
        batch = len(images) if whole else int(settings.batch_size)
        row_bytes = 16 * sum(network.architecture.sizes[1:])
        check_memory(min(batch, len(images)), row_bytes)
        totals = []
        words = None if draws.drops is None else put(draws.drops)
        batches = _batches(len(images), batch, order)
        for rows, lr in zip(batches, rates.tolist(), strict=True):
            inputs, targets = images.inputs[rows], images.targets[rows]
            drops = [] if words is None else self._factors(words[rows], settings.dropout)
            outputs, backward = network.forward(inputs, drops=drops)
            costs, _ = network.loss(outputs, targets)
            _, dy = network.loss(outputs, smoothed(targets, settings.label_smoothing))
            totals.append(_totals(costs, outputs, targets))
            optimizer.lr = lr
            self._gradients = backward(dy / len(inputs))
            optimizer.step(network.parameters, clip(self._gradients, settings))
        for name, array in network.parameters.items():
            self.network.parameters[name][...] = get(array)
        return _sum(totals)

    def _factors(self, words: Array, rate: float) -> list[Array]:
        sizes = self.network.architecture.sizes[1:-1]
        return [factors(words[:, at], size, rate) for at, size in enumerate(sizes)]

    def measure(self, images: _Images, *, again: bool = False) -> Totals:  # noqa: ARG002
        """Return the totals of the images."""
        totals = []
        for rows in _batches(len(images), MEASURED, None):
            outputs, _ = self._own.forward(images.inputs[rows])
            costs, _ = self._own.loss(outputs, images.targets[rows])
            totals.append(_totals(costs, outputs, images.targets[rows]))
        return _sum(totals)

    def probabilities(self, images: _Images) -> NDArray[np.float32]:
        """Return the class probabilities, (n, classes)."""
        return np.concatenate(
            [
                get(self._own.probabilities(self._own.forward(images.inputs[rows])[0]))
                for rows in _batches(len(images), MEASURED, None)
            ]
        )

    def norms(self, what: Literal["weight", "gradient"]) -> tuple[float, ...]:
        """Return the norms of weights or gradients, first layer first."""
        arrays = self._own.parameters if what == "weight" else self._gradients
        return tuple(
            float(np.linalg.norm(get(arrays[f"layer{number}.weight"]).astype(np.float64)))
            for number in range(1, len(self._own.layers) + 1)
        )

    def state(self) -> dict[str, Array]:
        """Return copies of the optimiser's state, by name."""
        remembered = vars(self._optimizer)
        return {"steps": np.array(remembered.get("steps", 0))} | {
            f"{kind}.{name}": get(array)
            for kind in _MOMENTS & remembered.keys()
            for name, array in remembered[kind].items()
        }

    def restore(self, parameters: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Restore parameters and an optimiser state.

        Raises LookupError or ValueError, before changing anything, if they do not fit.
        """
        remembered = vars(self._optimizer)
        given = {f"parameters.{name}": parameters[name] for name in self.network.parameters}
        for kind in _MOMENTS & remembered.keys():
            given |= {f"{kind}.{name}": state[f"{kind}.{name}"] for name in parameters}
        steps = int(state["steps"])
        for name, array in given.items():
            wanted = self.network.parameters[name.partition(".")[2]]
            if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}")
        for name, array in given.items():
            kind, _, own = name.partition(".")
            if kind == "parameters":
                self.network.parameters[own][...] = array
                self._own.parameters[own][...] = put(array)
            else:
                remembered[kind][own] = put(array)
        if "steps" in remembered:
            remembered["steps"] = steps


def _batches(count: int, size: int, order: NDArray[np.int64] | None) -> Iterator[Any]:
    places = None if order is None else put(order)
    for start in range(0, count, size):
        yield slice(start, start + size) if places is None else places[start : start + size]


def _totals(costs: Array, outputs: Array, targets: Array) -> tuple[Any, Any]:
    """Return the totals of a batch, still on the GPU."""
    return costs.sum(dtype=np.float64), (outputs.argmax(axis=1) == targets.argmax(axis=1)).sum()


def _sum(totals: list[tuple[Any, Any]]) -> Totals:
    costs, hits = zip(*totals, strict=True)
    return float(sum(costs)), int(sum(hits))
