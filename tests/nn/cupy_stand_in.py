"""The part of CuPy that the project uses, for machines without a GPU.

Kernels are compiled by g++ and run by an emulator of CUDA's threads (`emulator.h`). Memory is the
host's. Like CuPy's, its arrays must be copied to be read, and it counts how often that happens.
"""

import ctypes
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import types
from contextlib import nullcontext
from functools import cache
from pathlib import Path

import numpy as np
import pytest

FLAGS = ("-O2", "-std=c++17", "-march=native", "-ffp-contract=off", "-fwrapv", "-w",
         "-fno-strict-aliasing", "-U_FORTIFY_SOURCE", "-shared", "-fPIC")  # fmt: skip
HERE = Path(__file__).parent


class CudaError(RuntimeError):
    pass


class CompileError(Exception):
    pass


class Memory:
    """What CuPy calls a memory pointer."""

    def __init__(self, ptr):
        self.ptr = ptr


class ndarray:  # noqa: N801
    """An array on the device: `set` writes it, `get` reads it."""

    reads = 0

    def __init__(self, shape, dtype, memptr=None):
        self.shape, self.dtype = tuple(shape), np.dtype(dtype)
        size = int(np.prod(self.shape)) * self.dtype.itemsize
        if memptr is None:
            self._memory = np.full(size + 64, 0xFF, np.uint8)  # NaN, where floats are not written
            memptr = Memory(self._memory.ctypes.data + -self._memory.ctypes.data % 64)
        self.data, self.nbytes = memptr, size

    def __len__(self):
        return self.shape[0]

    def _view(self):
        buffer = (ctypes.c_uint8 * self.nbytes).from_address(self.data.ptr)
        return np.frombuffer(buffer, self.dtype).reshape(self.shape)

    def set(self, array):
        assert type(array) is np.ndarray
        assert (array.shape, array.dtype) == (self.shape, self.dtype)
        self._view()[...] = array

    def get(self):
        ndarray.reads += 1
        return self._view().copy()


def empty(shape, dtype):
    return ndarray(shape, dtype)


def zeros(shape, dtype):
    array = empty(shape, dtype)
    array._view()[...] = 0
    return array


class Stream(nullcontext):
    """A stream, which runs launches at once, or records them in a graph."""

    recording = None

    def __init__(self, *, non_blocking):
        super().__init__()
        assert non_blocking

    def begin_capture(self):
        Stream.recording = []

    def end_capture(self):
        recorded, Stream.recording = Stream.recording, None
        return types.SimpleNamespace(launch=lambda _: [run() for run in recorded])

    def synchronize(self):
        assert Stream.recording is None


emulated = pytest.mark.skipif(
    shutil.which("g++") is None or sys.platform != "linux",
    reason="the emulator of a GPU needs Linux and g++",
)


@cache
def library(code):
    """Compile the kernels, each with a function `launch_NAME(grid, threads, arguments)`."""
    launches = []
    pattern = r'extern "C" __global__ void __launch_bounds__\(\w+\) (\w+)\(\s*([^)]*)\)'
    for name, parameters in re.findall(pattern, code):
        kinds = [re.sub(r"\w+$", "", parameter.strip()) for parameter in parameters.split(",")]
        values = ", ".join(f"*({kind}*)a[{at}]" for at, kind in enumerate(kinds))
        launches.append(
            f'extern "C" void launch_{name}(const int* grid, int threads, void** a) '
            f"{{ launch(grid, threads, [=] {{ {name}({values}); }}); }}"
        )
    text = "\n".join(['#include "emulator.h"', code, *launches])
    digest = hashlib.sha256((text + (HERE / "emulator.h").read_text()).encode()).hexdigest()[:16]
    folder = Path(tempfile.mkdtemp(prefix="digits-emulator-"))
    source, made = folder / "kernels.cpp", folder / f"kernels-{digest}.so"
    source.write_text(text)
    subprocess.run(["g++", *FLAGS, f"-I{HERE}", "-o", made, source], check=True)
    loaded = ctypes.CDLL(str(made))
    shutil.rmtree(folder)
    return loaded


class RawModule:
    def __init__(self, *, code, options):
        assert "--fmad=false" in options
        self._code = code

    def get_function(self, name):
        function = getattr(library(self._code), f"launch_{name}")

        def call(grid, block, arguments):
            assert all(0 < size < 2**31 for size in grid)
            assert len(grid) < 2 or grid[1] < 2**16
            sizes = (ctypes.c_int * 2)(*grid, *[1] * (2 - len(grid)))
            values = [
                ctypes.c_void_p(value.data.ptr) if isinstance(value, ndarray)
                else ctypes.c_int32(value)
                for value in arguments
            ]  # fmt: skip
            places = (ctypes.c_void_p * len(values))(*map(ctypes.addressof, values))

            def run(_values=values):
                function(sizes, block[0], places)

            run() if Stream.recording is None else Stream.recording.append(run)

        return call

    def get_global(self, name):
        return Memory(ctypes.addressof(ctypes.c_char.in_dll(library(self._code), name)))


def cupy_stand_in(monkeypatch, count=1, error=None, free=2**33):
    """Put the stand-in in CuPy's place, with a GPU that works, is absent or is broken."""
    from pipeline.nn.gpu import device

    def device_count():
        if error:
            raise error
        return count

    module = types.ModuleType("cupy")
    for part in (ndarray, empty, zeros, RawModule):
        setattr(module, part.__name__, part)
    module.cuda = types.SimpleNamespace(
        Stream=Stream,
        compiler=types.SimpleNamespace(CompileException=CompileError),
        runtime=types.SimpleNamespace(
            getDeviceCount=device_count,
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: {"name": b"Stand-in"},
            memGetInfo=lambda: (free, 2 * free),
        ),
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    for cached in (device._stream, device._compiled):
        cached.cache_clear()
    ndarray.reads = 0
    return module
