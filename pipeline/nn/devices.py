"""Where networks are trained and used: on the processor, or on a GPU.

An engine does all that takes time; what asks for it knows no device. Engines are imported where one
is made: Numba and CuPy take a while to load, and most commands need neither.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DeviceError
from pipeline.nn.layers import Array
from pipeline.nn.network import Network
from pipeline.params import VariantSettings

Totals = tuple[float, int]
"""The sum of images' costs, and how many were classified right."""
Blocks = Iterable[tuple[Array, Array]]
"""Inputs (n, 784) float32 and labels (n,), so many images at a time."""


class Engine(Protocol):
    """A network at work on a device."""

    network: Network
    """After `train` it has the weights that training came to."""

    def hold(self, blocks: Blocks, count: int) -> Any:
        """Hold `count` images in the form that this engine wants; `len` gives their number."""

    def train(self, images: Any, order: NDArray[np.int64] | None) -> Totals:
        """Take a step per batch of images in this order; None: one step with all, as they lie.

        Return the totals of the images, each from before its own step.
        """

    def measure(self, images: Any, *, again: bool = False) -> Totals:
        """Return the totals of images. again: they will be measured more than once."""

    def probabilities(self, images: Any) -> NDArray[np.float32]:
        """Return each image's probabilities of all classes, (n, classes)."""

    def norms(self, what: Literal["weight", "gradient"]) -> tuple[float, ...]:
        """Return the Euclidean norm of each layer's weights, or of their last gradient."""

    def state(self) -> dict[str, Array]:
        """Return copies of what the optimiser remembers, by name."""

    def restore(self, parameters: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        """Go on from parameters and a state.

        Raises LookupError or ValueError where they do not fit, before anything is changed.
        """


@dataclass(frozen=True)
class Device:
    """A place to compute; its name says which."""

    name: str
    is_cpu: bool

    def engine(
        self,
        network: Network,
        settings: VariantSettings | None = None,
        threads: int | None = None,
    ) -> Engine:
        """Put a network to work; `settings` say how it is trained, if it is.

        threads: of the processor; by default one per core that may be used. They change no bit.
        """
        if self.is_cpu:
            from pipeline.nn.compiled.engine import CompiledEngine

            return CompiledEngine(network, settings, threads)
        from pipeline.nn.gpu.engine import GpuEngine

        return GpuEngine(network, settings)


CPU = Device("cpu", is_cpu=True)


def find_device(wanted: Literal["cpu", "gpu", "auto"]) -> Device:
    """Return the device that a setting asks for; `auto` takes a GPU that works, else the CPU.

    Raises DeviceError for `gpu` where none can be used, and says why. There is no silent fallback:
    the name of the device tells what was chosen.
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
