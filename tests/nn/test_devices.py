import re
import sys

import numpy as np
import pytest

from pipeline.base import machine
from pipeline.base.errors import DeviceError
from pipeline.base.params import VariantSettings
from pipeline.nn.devices import CPU, find_device
from pipeline.nn.training import make_network
from tests.nn.cupy_stand_in import CompileError, CudaError, cupy_stand_in, emulated
from tests.training import held


def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture
def few(few_digits):
    return (few_digits.images.reshape(-1, 784) / 255).astype(np.float32), few_digits.labels


def test_the_cpu_needs_no_cupy(monkeypatch):
    no_cupy(monkeypatch)
    assert find_device("cpu") is CPU
    assert CPU.is_cpu
    assert CPU.name == "cpu"


def test_gpu_without_cupy_says_what_to_install(monkeypatch):
    no_cupy(monkeypatch)
    with pytest.raises(DeviceError, match=r"package cupy.*: pip install -e '\.\[gpu\]'"):
        find_device("gpu")


def test_gpu_without_a_device_says_so(monkeypatch):
    cupy_stand_in(monkeypatch, count=0)
    with pytest.raises(DeviceError, match="none was found"):
        find_device("gpu")


@pytest.mark.parametrize(
    "error",
    [
        CudaError("driver version is insufficient\nand more"),
        OSError("libnvrtc.so.12: cannot open shared object file"),
        CompileError("catastrophic error: cannot open source file"),
        ImportError("no module named cuda.pathfinder"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_gpu_whose_driver_or_compiler_does_not_work_is_refused_in_one_line(error, monkeypatch):
    cupy_stand_in(monkeypatch, error=error)
    reason = re.escape(str(error).splitlines()[0])
    with pytest.raises(DeviceError, match=f"its driver and CUDA's compiler: {reason}$"):
        find_device("gpu")
    assert reason.split("\\n")[0] in re.escape(find_device("auto").name)


@emulated
def test_a_gpu_is_used_only_after_a_kernel_has_run_on_it(monkeypatch):
    cupy = cupy_stand_in(monkeypatch)
    find_device("gpu")

    class Broken(cupy.RawModule):
        def get_function(self, _):
            raise CompileError("nvrtc: error: invalid value for --gpu-architecture")

    cupy_stand_in(monkeypatch).RawModule = Broken
    with pytest.raises(DeviceError, match="invalid value for --gpu-architecture"):
        find_device("gpu")
    assert find_device("auto").is_cpu


def test_auto_without_a_gpu_takes_the_cpu_and_says_why(monkeypatch):
    no_cupy(monkeypatch)
    device = find_device("auto")
    assert device.is_cpu
    assert "the package cupy, which cannot be imported" in device.name


@emulated
def test_a_gpu_that_works_is_named(monkeypatch):
    cupy_stand_in(monkeypatch)
    assert find_device("gpu").name == find_device("auto").name == "gpu (Stand-in)"
    assert not find_device("gpu").is_cpu


def test_an_engine_without_settings_does_not_train(few):
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size=8, epochs=1)
    engine = CPU.engine(make_network(settings, 10, 0)[0])
    with pytest.raises(ValueError, match="without settings"):
        engine.train(held(engine, few), None, np.ones(1))


@emulated
def test_a_gpu_without_room_is_a_one_line_error(monkeypatch, few):
    cupy = cupy_stand_in(monkeypatch, free=2**28)
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size=32, epochs=1)
    engine = find_device("gpu").engine(make_network(settings, 10, 0)[0], settings)

    def no_room(*_):
        raise MemoryError

    cupy.empty = no_room
    with pytest.raises(DeviceError, match=r"no room for this: 0\.25 of 0\.50 GiB are free"):
        held(engine, few)


def test_only_the_cores_available_to_this_process_count(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    assert machine.available_cores() == 3
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size=32, epochs=1)
    assert CPU.engine(make_network(settings, 10, 0)[0]).threads == 3
