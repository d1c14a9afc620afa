import sys

import numpy as np
import pytest

from pipeline.errors import DeviceError
from pipeline.nn import backend
from pipeline.nn.backend import CPU, array_module, find_device, to_host
from pipeline.nn.batches import put_batch
from pipeline.nn.parallel import Workers
from pipeline.nn.training import make_network, train
from pipeline.params import VariantSettings
from tests.nn.cupy_stand_in import cupy_stand_in


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


GPU_SETTINGS = {
    "mini-batches, momentum, l2": {"batch_size": 32, "momentum": 0.9, "l2": 1e-3},
    "full batch, clipped": {"batch_size": "all", "clip_value": 0.01, "clip_norm": 0.1},
    "adam": {"batch_size": 32, "optimizer": "adam", "lr": 0.003, "l2": 1e-3},
    "sigmoid, squared error": {
        "batch_size": 20, "activation": "sigmoid", "output": "sigmoid",
        "loss": "mean_squared_error", "lr": 1.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("changes", GPU_SETTINGS.values(), ids=GPU_SETTINGS)
def test_both_devices_start_from_the_same_weights_and_agree_after_training(
    changes, monkeypatch, few_digits
):
    cupy = cupy_stand_in(monkeypatch)
    settings = VariantSettings(**({"hidden": [12], "lr": 0.1, "epochs": 3} | changes))
    inputs = (few_digits.images.reshape(-1, 784) / 255).astype(np.float32)
    trained = {}
    for device in (CPU, find_device("gpu")):
        network, rng = make_network(settings, 10, 0, device)
        drawn = {name: to_host(p).copy() for name, p in network.parameters.items()}
        batch = put_batch(device, inputs, few_digits.labels)
        with Workers(device) as workers:
            reports = list(train(network, settings, batch, batch, rng, workers))
        trained[device.is_cpu] = drawn, network, reports
    (drawn, on_cpu, cpu_reports), (other_drawn, on_gpu, gpu_reports) = trained[True], trained[False]
    for name, parameter in on_gpu.parameters.items():
        assert array_module(parameter) is cupy
        np.testing.assert_array_equal(other_drawn[name], drawn[name])
        np.testing.assert_allclose(
            to_host(parameter), on_cpu.parameters[name], rtol=1e-3, atol=1e-5, err_msg=name
        )
    for ours, theirs in zip(gpu_reports, cpu_reports, strict=True):
        assert ours.train.cost == pytest.approx(theirs.train.cost, abs=1e-4)
        assert ours.validation.accuracy == pytest.approx(theirs.validation.accuracy, abs=0.005)


def test_a_gpu_is_read_only_when_an_epoch_ends(monkeypatch, few_digits):
    cupy = cupy_stand_in(monkeypatch)
    inputs = (few_digits.images.reshape(-1, 784) / 255).astype(np.float32)
    reads = {}
    for size in (10, 50):
        settings = VariantSettings(hidden=[12], lr=0.1, batch_size=size, epochs=2)
        device = find_device("gpu")
        network, rng = make_network(settings, 10, 0, device)
        batch = put_batch(device, inputs, few_digits.labels)
        cupy.ndarray.reads = 0
        with Workers(device) as workers:
            list(train(network, settings, batch, batch, rng, workers))
        reads[size] = cupy.ndarray.reads
    assert reads[10] == reads[50] == 2 * 6  # cost and accuracy, twice; two sets of norms


def test_a_batch_that_does_not_fit_on_a_gpu_says_which_would(monkeypatch, few_digits):
    cupy_stand_in(monkeypatch, free=20_000)
    device = find_device("gpu")
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size="all", epochs=1)
    network, rng = make_network(settings, 10, 0, device)
    inputs = (few_digits.images.reshape(-1, 784) / 255).astype(np.float32)
    batch = put_batch(device, inputs, few_digits.labels)
    with (
        Workers(device) as workers,
        pytest.raises(DeviceError, match=r"a batch of 200 images needs .* batch_size 56 would fit"),
    ):
        list(train(network, settings, batch, batch, rng, workers))


def test_the_cores_are_those_this_process_may_use(monkeypatch):
    monkeypatch.setattr(backend.os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    assert backend.available_cores() == 3
