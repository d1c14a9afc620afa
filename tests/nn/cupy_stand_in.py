"""CuPy's interface over NumPy, with CuPy's strictness, for machines without a GPU.

Like CuPy's, its arrays cannot be mixed with NumPy's. They count how often a value is read back.
Only the NumPy functions that are needed dispatch to it, by the protocols of NEP 13 and NEP 18.
"""

import sys
import types

import numpy as np


class CudaError(RuntimeError):
    pass


class ndarray(np.ndarray):  # noqa: N801
    """An array that can be combined only with its own type and with scalars."""

    reads = 0

    def __array_function__(self, function, types, arguments, keywords):
        if function is not np.clip:
            return NotImplemented
        if np.ndarray in types:
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        return _device(function(*map(_plain, arguments), **keywords))

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **keywords):
        if method != "__call__":
            return NotImplemented
        given = [*inputs, *(out or ())]
        if any(type(x) is np.ndarray and x.ndim for x in given):
            raise TypeError("Unsupported type <class 'numpy.ndarray'>")
        if out:
            keywords["out"] = tuple(_plain(x) for x in out)
        result = ufunc(*map(_plain, inputs), **keywords)
        return out[0] if out else _device(result)

    def __setitem__(self, key, value):
        if type(value) is np.ndarray and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        _plain(self)[_plain_key(key)] = _plain(value)

    def __getitem__(self, key):
        return _device(_plain(self)[_plain_key(key)])

    def sum(self, axis=None, dtype=None, keepdims=False):
        return _device(_plain(self).sum(axis=axis, dtype=dtype, keepdims=keepdims))

    def max(self, axis=None, keepdims=False):
        return _device(_plain(self).max(axis=axis, keepdims=keepdims))

    def mean(self, axis=None):
        return _device(_plain(self).mean(axis=axis))

    def argmax(self, axis=None):
        return _device(_plain(self).argmax(axis=axis))

    def get(self):
        ndarray.reads += 1
        return np.array(_plain(self))

    def __float__(self):
        ndarray.reads += 1
        return float(_plain(self))

    def __int__(self):
        ndarray.reads += 1
        return int(_plain(self))

    def __bool__(self):
        ndarray.reads += 1
        return bool(_plain(self))

    __array_priority__ = 100


def _plain(x):
    return x.view(np.ndarray) if isinstance(x, ndarray) else x


def _plain_key(key):
    return tuple(map(_plain, key)) if isinstance(key, tuple) else _plain(key)


def _device(x):
    return np.asarray(x).view(ndarray)


def cupy_stand_in(monkeypatch, count=1, error=None, free=2**33):
    """Replace CuPy by NumPy, with a GPU that works, is absent or is broken."""

    def device_count():
        if error:
            raise CudaError(error)
        return count

    module = types.ModuleType("cupy")
    module.ndarray = ndarray
    module.asarray = lambda array: _device(np.array(array))
    module.zeros = lambda shape: _device(np.zeros(shape))
    module.get_default_memory_pool = lambda: types.SimpleNamespace(free_bytes=lambda: 0)
    module.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(
            CUDARuntimeError=CudaError,
            getDeviceCount=device_count,
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: {"name": b"Stand-in"},
            memGetInfo=lambda: (free, 2 * free),
        )
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    ndarray.reads = 0
    return module
