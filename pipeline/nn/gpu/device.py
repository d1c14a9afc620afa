"""CuPy and the GPU: find a device, compile the kernels, allocate and copy.

This is the only file that uses CuPy. All work is done on one stream, so it is done in order.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DeviceError
from pipeline.nn.gpu.source import record, source

OPTIONS = ("-std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
"""Every operation rounds once, as written; only explicit fused multiply-adds are fused."""
KERNELS = (
    "forward", "through", "backward", "weights", "update", "squared", "distort",
)  # fmt: skip


def find_gpu() -> str:
    """Return the name of the GPU, after a kernel has run on it.

    Raises DeviceError, with the reason in one line, if none can be used.
    """
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device gpu needs the package cupy, which cannot be imported "
            f"({_line(error)}): pip install -e '.[gpu]'"
        ) from error
    try:
        if not cupy.cuda.runtime.getDeviceCount():
            raise DeviceError("device gpu needs a GPU, and none was found")
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
        gpu = Gpu()
        with gpu.work():
            gpu.write(np.zeros(1, record("Run")))
            gpu.launch("update", (1,), 256, 0, 0, 0)
            gpu.synchronize()
    except (
        ImportError, OSError, RuntimeError, cupy.cuda.compiler.CompileException,
    ) as error:  # fmt: skip
        raise DeviceError(
            f"device gpu needs a GPU, its driver and CUDA's compiler: {_line(error)}"
        ) from error
    name: str = properties["name"].decode()
    return name


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


class Gpu:
    """The kernels on the current GPU, and a stream to run them on."""

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy
        self._kernels, self._run = _compiled()
        self._stream = _stream()

    @contextmanager
    def work(self) -> Iterator[None]:
        """Do what follows on the stream. Raises DeviceError if the GPU has no more memory."""
        try:
            with self._stream:
                yield
        except MemoryError as error:
            free, total = self._cupy.cuda.runtime.memGetInfo()
            raise DeviceError(
                f"the GPU has no room for this: {free / 2**30:.2f} of {total / 2**30:.2f} GiB are "
                "free; set shuffle_buffer, a smaller hidden, or device: cpu"
            ) from error

    def empty(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """Return an array on the GPU, of any content."""
        return self._cupy.empty(shape, dtype)

    def zeros(self, shape: tuple[int, ...], dtype: Any = np.float32) -> Any:
        """Return an array of zeros on the GPU."""
        return self._cupy.zeros(shape, dtype)

    def put(self, array: NDArray[Any]) -> Any:
        """Copy an array to the GPU, without the pinned memory that `cupy.asarray` would keep."""
        copied = self._cupy.empty(array.shape, array.dtype)
        copied.set(array)
        return copied

    def write(self, run: NDArray[np.void]) -> None:
        """Set the record `run` that all kernels read."""
        self._run.set(run.view(np.uint8))

    def launch(self, kernel: str, grid: tuple[int, ...], block: int, *arguments: int) -> None:
        """Launch a kernel with 32-bit integers."""
        self._kernels[kernel](grid, (block,), tuple(np.int32(number) for number in arguments))

    def launch_with(self, kernel: str, grid: tuple[int, ...], block: int, *arrays: Any) -> None:
        """Launch a kernel with arrays."""
        self._kernels[kernel](grid, (block,), arrays)

    @contextmanager
    def capture(self) -> Iterator[list[Any]]:
        """Record launches, instead of running them, as a graph that is then in the list."""
        graph: list[Any] = []
        self._stream.begin_capture()
        try:
            yield graph
        finally:
            graph.append(self._stream.end_capture())

    def replay(self, graph: list[Any]) -> None:
        """Run the launches of a graph."""
        graph[0].launch(self._stream)

    def synchronize(self) -> None:
        """Wait until all work is done."""
        self._stream.synchronize()


@cache
def _stream() -> Any:
    import cupy

    return cupy.cuda.Stream(non_blocking=True)


@cache
def _compiled() -> tuple[Mapping[str, Any], Any]:
    """Compile the kernels; return them and the record `run` as an array of bytes.

    CuPy stores the result in the user's cache folder.
    """
    import cupy

    module = cupy.RawModule(code=source(), options=OPTIONS)
    kernels = {name: module.get_function(name) for name in KERNELS}
    size = record("Run").itemsize
    return kernels, cupy.ndarray((size,), np.uint8, module.get_global("run"))
