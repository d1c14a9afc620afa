"""Find a GPU, and copy arrays to and from it."""

import numpy as np

from pipeline.base.errors import DeviceError
from pipeline.nn.layers import Array


def find_gpu() -> str:
    """Return the name of the GPU. Raises DeviceError, with the reason, if none can be used."""
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
    name: str = properties["name"].decode()
    return name


def put(array: Array) -> Array:
    """Copy an array to the GPU. Raises DeviceError if it does not fit into the GPU's memory."""
    import cupy

    try:
        copied: Array = cupy.asarray(array)
    except MemoryError as error:
        raise DeviceError(
            f"the GPU has no room for {array.nbytes / 2**30:.2f} GiB; set a smaller train_limit or "
            "device: cpu"
        ) from error
    return copied


def get(array: Array) -> Array:
    """Copy an array from the GPU."""
    host: Array = np.asarray(array.get())  # type: ignore[attr-defined]
    return host


def check_memory(rows: int, row_bytes: int) -> None:
    """Raise DeviceError if so many rows of a batch do not fit into the GPU's memory.

    Memory that CuPy holds for reuse counts as free.
    """
    import cupy

    free = cupy.cuda.runtime.memGetInfo()[0] + cupy.get_default_memory_pool().free_bytes()
    if rows * row_bytes > free:
        raise DeviceError(
            f"a batch of {rows} images needs {rows * row_bytes / 2**30:.2f} GiB on the GPU, which "
            f"has {free / 2**30:.2f} GiB free; batch_size {free // row_bytes} would fit"
        )
