"""Where networks are trained and used: on the CPU or on a GPU.

An engine does all the heavy computation, so its callers need not know the device. Engines are
imported on first use: Numba and CuPy are slow to load, and most commands need neither.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DeviceError
from pipeline.base.params import VariantSettings
from pipeline.nn import dropout
from pipeline.nn.layers import Array
from pipeline.nn.network import Network

Totals = tuple[float, int]
"""The sum of the images' costs, and the number of images classified correctly."""
Blocks = Iterable[tuple[Array, Array]]
"""Blocks of inputs (n, 784) float32 and labels (n,)."""


@dataclass(frozen=True)
class Draws:
    """What an epoch draws at random for each held image (n,).

    distortions: `augment.DISTORTION` records, with the fields they choose from (FIELDS, 28, 28).
    drops: `dropout.keys`. None without augment, or without dropout.
    """

    distortions: NDArray[np.void] | None = None
    fields: NDArray[np.float32] | None = None
    drops: NDArray[np.uint32] | None = None


NO_DRAWS = Draws()


class Engine(Protocol):
    """A network on a device."""

    network: Network
    """The network that `train` updates."""

    def hold(self, blocks: Blocks, count: int, table: NDArray[np.float32] | None = None) -> Any:
        """Return `count` images in the form that this engine needs; `len` returns their number.

        table: (256,), the input that each pixel value stands for. Only images with a table can be
        distorted.
        """

    def train(
        self,
        images: Any,
        order: NDArray[np.int64] | None,
        rates: NDArray[np.float64],
        draws: Draws = NO_DRAWS,
    ) -> Totals:
        """Take one step per batch of the images in this order.

        order: image numbers (n,); None takes a single step with all images as stored. rates: the
        learning rate of each step. Return the totals, each image measured before the step of its
        own batch.
        """

    def measure(self, images: Any, *, again: bool = False) -> Totals:
        """Return the totals of the images. again: whether they will be measured again."""

    def probabilities(self, images: Any) -> NDArray[np.float32]:
        """Return the class probabilities of each image, (n, classes)."""

    def norms(self, what: Literal["weight", "gradient"]) -> tuple[float, ...]:
        """Return the Euclidean norm of each layer's weights, or of their last gradient."""

    def state(self) -> dict[str, Array]:
        """Return copies of the optimiser's state, by name."""

    def restore(self, parameters: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Restore parameters and an optimiser state.

        Raises LookupError or ValueError, before changing anything, if they do not fit.
        """


def restorable(
    own: Mapping[str, Array],
    moments: Iterable[str],
    parameters: Mapping[str, Array],
    state: Mapping[str, Array],
) -> dict[str, dict[str, Array]]:
    """Return the weights, and each moment of the optimiser, by parameter name.

    own: the parameters of the network. parameters, state: what is to be restored, as `Engine.state`
    names it. Raises LookupError or ValueError if an array is missing, or of another shape or type.
    """
    given = {"weight": {name: parameters[name] for name in own}}
    given |= {moment: {name: state[f"{moment}.{name}"] for name in own} for moment in moments}
    pairs = [(arrays[name], own[name]) for arrays in given.values() for name in own]
    for array, wanted in [*pairs, (state["powers"], np.zeros(2))]:
        if (array.shape, array.dtype) != (wanted.shape, wanted.dtype):
            raise ValueError(f"an array is {array.dtype} of shape {array.shape}")
    return given


def write_settings(run: NDArray[Any], settings: VariantSettings, classes: int) -> None:
    """Write what a step needs of the settings to a record (1,), rounded to the record's types."""
    for number, beta in ((1, settings.beta1), (2, settings.beta2)):
        run[f"old{number}"], run[f"new{number}"] = beta, 1 - beta
    with np.errstate(over="ignore"):  # a limit beyond float32 becomes infinity
        run["momentum"], run["l2"] = settings.momentum, settings.l2
        run["clip_value"] = settings.clip_value or np.inf
    run["clip_norm"] = settings.clip_norm or 0
    run["off_target"] = settings.label_smoothing / classes
    run["on_target"] = 1 - settings.label_smoothing
    run["drop_limit"] = dropout.limit(settings.dropout)
    run["drop_scale"] = 1 / (1 - settings.dropout)


@dataclass(frozen=True)
class Device:
    """A device to compute on, identified by its name."""

    name: str
    is_cpu: bool

    def engine(
        self,
        network: Network,
        settings: VariantSettings | None = None,
        threads: int | None = None,
    ) -> Engine:
        """Return an engine for a network. Only an engine with `settings` can train.

        threads: number of CPU threads, by default one per available core. It does not affect any
        result.
        """
        if self.is_cpu:
            from pipeline.nn.compiled.engine import CompiledEngine

            return CompiledEngine(network, settings, threads)
        from pipeline.nn.gpu.engine import GpuEngine

        return GpuEngine(network, settings)


CPU = Device("cpu", is_cpu=True)


def find_device(wanted: Literal["cpu", "gpu", "auto"]) -> Device:
    """Return the device for a setting. `auto` is a GPU if one works, else the CPU.

    Raises DeviceError for `gpu` if none can be used, with the reason. The name of the device shows
    what `auto` chose, and why.
    """
    if wanted == "cpu":
        return CPU
    from pipeline.nn.gpu.device import find_gpu

    try:
        return Device(f"gpu ({find_gpu()})", is_cpu=False)
    except DeviceError as error:
        if wanted == "gpu":
            raise
        return Device(f"cpu ({error})", is_cpu=True)
