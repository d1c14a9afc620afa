import sys
import types

import numpy as np
import pytest

from pipeline.errors import DeviceError
from pipeline.nn import backend
from pipeline.nn.backend import CPU, array_module, find_device, to_host
from pipeline.nn.parallel import Workers
from pipeline.nn.training import make_network, put_batch, train
from pipeline.params import VariantSettings


class CudaError(RuntimeError):
    pass


def cupy_stand_in(monkeypatch, count=1, error=None):
    """Put NumPy in CuPy's place, with a GPU that is there, absent or broken."""

    def device_count():
        if error:
            raise CudaError(error)
        return count

    class ndarray(np.ndarray):  # noqa: N801
        def get(self):
            return np.asarray(self)

    module = types.ModuleType("cupy")
    for name in dir(np):
        if not name.startswith("__"):
            setattr(module, name, getattr(np, name))
    module.ndarray = ndarray
    module.asarray = lambda x: np.asarray(x).view(ndarray)
    module.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(
            CUDARuntimeError=CudaError,
            getDeviceCount=device_count,
            getDevice=lambda: 0,
            getDeviceProperties=lambda number: {"name": b"Stand-in"},
        )
    )
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


def test_cpu_is_numpy():
    assert find_device("cpu") is CPU
    assert CPU.xp is np
    assert array_module(np.ones(2)) is np


def test_gpu_without_cupy_says_what_to_install(monkeypatch):
    no_cupy(monkeypatch)
    with pytest.raises(DeviceError, match=r"package cupy.*pip install -e '\.\[gpu\]'"):
        find_device("gpu")


def test_gpu_without_a_device_says_so(monkeypatch):
    cupy_stand_in(monkeypatch, count=0)
    with pytest.raises(DeviceError, match="none was found"):
        find_device("gpu")


def test_gpu_without_a_driver_says_so(monkeypatch):
    cupy_stand_in(monkeypatch, error="driver version is insufficient")
    with pytest.raises(DeviceError, match="its driver: driver version is insufficient"):
        find_device("gpu")


def test_auto_without_a_gpu_takes_the_cpu_and_says_why(monkeypatch):
    no_cupy(monkeypatch)
    device = find_device("auto")
    assert device.is_cpu
    assert "cupy, which is not installed" in device.name


def test_a_gpu_that_works_is_named(monkeypatch):
    cupy_stand_in(monkeypatch)
    assert find_device("gpu").name == find_device("auto").name == "gpu (Stand-in)"


def test_training_on_another_array_module_starts_from_the_same_weights_and_learns(
    monkeypatch, few_digits
):
    cupy = cupy_stand_in(monkeypatch)
    device = find_device("gpu")
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size=32, epochs=3)
    network, rng = make_network(settings, 10, 0, device)
    on_cpu, _ = make_network(settings, 10, 0, CPU)
    for name, parameter in network.parameters.items():
        assert array_module(parameter) is cupy
        np.testing.assert_array_equal(to_host(parameter), on_cpu.parameters[name])
    inputs = (few_digits.images.reshape(-1, 784) / 255).astype(np.float32)
    batch = put_batch(device, inputs, few_digits.labels)
    with Workers(device) as workers:
        reports = list(train(network, settings, batch, batch, rng, workers))
    assert reports[-1].train.cost < reports[0].train.cost
    assert all(array_module(parameter) is cupy for parameter in network.parameters.values())


def test_the_cores_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    assert backend.available_cores() == 3
