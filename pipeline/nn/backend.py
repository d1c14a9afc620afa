"""Where arrays live. The only module that names CuPy; all mathematics asks its own arguments.

NumPy and CuPy share one interface, so `xp = array_module(x)` is all that a formula needs to run on
either. Copies between the two happen at the edge: data and weights go up once, results come down.
"""

import os
import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import DeviceError

Array = NDArray[Any]
"""A NumPy array, or a CuPy array, which has the same interface."""


@dataclass(frozen=True)
class Device:
    """A place to compute: `name` says which, `xp` is its array module."""

    name: str
    xp: ModuleType

    @property
    def is_cpu(self) -> bool:
        """Say whether arrays of this device are NumPy's."""
        return self.xp is np

    def put(self, array: Array) -> Array:
        """Copy a NumPy array to this device; on the CPU, give it as it is.

        Raises DeviceError where a GPU has no room for it.
        """
        if self.is_cpu:
            return array
        try:
            copied: Array = self.xp.asarray(array)
        except MemoryError as error:
            raise DeviceError(
                f"{self.name} has no room for {array.nbytes / 2**30:.2f} GiB: a smaller "
                "train_limit would fit, or device: cpu"
            ) from error
        return copied


CPU = Device("cpu", np)


def array_module(x: Array) -> ModuleType:
    """Give the library that owns `x`: numpy or cupy."""
    cupy = sys.modules.get("cupy")
    return cupy if cupy is not None and isinstance(x, cupy.ndarray) else np


def to_host(x: Any) -> Array:
    """Copy an array of any device to NumPy; give a NumPy array as it is."""
    host: Array = x if array_module(x) is np else x.get()
    return host


def check_memory(x: Array, rows: int, row_bytes: int) -> None:
    """Raise DeviceError where the GPU that owns `x` has no room for so many rows of a batch.

    What CuPy keeps to use again counts as free. On the CPU the operating system sees to it.
    """
    cupy = array_module(x)
    if cupy is np:
        return
    free = cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes()
    if rows * row_bytes > free:
        raise DeviceError(
            f"a batch of {rows} images needs {rows * row_bytes / 2**30:.2f} GiB on the GPU, which "
            f"has {free / 2**30:.2f} GiB free; batch_size {free // row_bytes} would fit"
        )


def find_device(wanted: Literal["cpu", "gpu", "auto"]) -> Device:
    """Give the device that a setting asks for; `auto` takes a GPU that works, else the CPU.

    Raises DeviceError for `gpu` where none can be used, and says why. There is no silent fallback:
    the name of the device tells what was chosen.
    """
    if wanted == "cpu":
        return CPU
    try:
        return _find_gpu()
    except DeviceError as error:
        if wanted == "gpu":
            raise
        return Device(f"cpu ({error})", np)


def _find_gpu() -> Device:
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device gpu needs the package cupy, which is not installed: pip install -e '.[gpu]'"
        ) from error
    try:
        if not cupy.cuda.runtime.getDeviceCount():
            raise DeviceError("device gpu needs a GPU, and none was found")
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        cupy.zeros(1).sum().item()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"device gpu needs a GPU and its driver: {error}") from error
    return Device(f"gpu ({properties['name'].decode()})", cupy)


def physical_memory() -> int:
    """Give the bytes of memory that the machine has, swap aside."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
