import sys

import numpy as np
import pytest

from pipeline.base import machine
from pipeline.base.errors import DeviceError
from pipeline.base.params import VariantSettings
from pipeline.nn.devices import CPU, find_device
from pipeline.nn.training import make_network
from tests.nn.cupy_stand_in import cupy_stand_in
from tests.training import held, trained


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
    assert not find_device("gpu").is_cpu


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
    changes, monkeypatch, few
):
    cupy = cupy_stand_in(monkeypatch)
    settings = VariantSettings(**({"hidden": [12], "lr": 0.1, "epochs": 3} | changes))
    on_cpu, cpu_reports = trained(settings, few, few)
    assert cupy.ndarray.reads == 0
    on_gpu, gpu_reports = trained(settings, few, few, device=find_device("gpu"))
    assert cupy.ndarray.reads > 0
    for name, parameter in on_gpu.parameters.items():
        assert type(parameter) is np.ndarray
        np.testing.assert_allclose(
            parameter, on_cpu.parameters[name], rtol=1e-3, atol=1e-5, err_msg=name
        )
    for ours, theirs in zip(gpu_reports, cpu_reports, strict=True):
        assert ours.train.cost == pytest.approx(theirs.train.cost, abs=1e-4)
        assert ours.validation.accuracy == pytest.approx(theirs.validation.accuracy, abs=0.005)
        for norms in ("weight_norms", "gradient_norms"):
            assert getattr(ours, norms) == pytest.approx(getattr(theirs, norms), rel=1e-3)


@pytest.mark.parametrize("changes", GPU_SETTINGS.values(), ids=GPU_SETTINGS)
def test_both_devices_give_the_same_probabilities_for_one_network(changes, monkeypatch, few):
    cupy_stand_in(monkeypatch)
    settings = VariantSettings(**({"hidden": [12], "lr": 0.1, "epochs": 1} | changes))
    network, _ = make_network(settings, 10, 0)
    given = {}
    for device in (CPU, find_device("gpu")):
        engine = device.engine(network)
        given[device.is_cpu] = engine.probabilities(held(engine, few))
    assert {(array.shape, array.dtype.name) for array in given.values()} == {((200, 10), "float32")}
    np.testing.assert_allclose(given[True], given[False], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "cross_entropy"),
        ("softmax", "mean_squared_error"),
        ("sigmoid", "mean_squared_error"),
    ],
)
def test_nan_weights_give_a_nan_cost_and_nan_probabilities(
    activation, output, loss, monkeypatch, few
):
    cupy_stand_in(monkeypatch)
    settings = VariantSettings(
        hidden=[12], activation=activation, output=output, loss=loss, lr=0.1, batch_size=8, epochs=1
    )
    network, _ = make_network(settings, 10, 0)
    network.parameters["layer1.weight"][...] = np.nan
    for device in (CPU, find_device("gpu")):
        engine = device.engine(network)
        images = held(engine, few)
        assert np.isnan(engine.measure(images)[0])
        assert np.isnan(engine.probabilities(images)).all()


def test_an_engine_without_settings_does_not_train(monkeypatch, few):
    cupy_stand_in(monkeypatch)
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size=8, epochs=1)
    for device in (CPU, find_device("gpu")):
        engine = device.engine(make_network(settings, 10, 0)[0])
        with pytest.raises(ValueError, match="without settings"):
            engine.train(held(engine, few), None, np.ones(1))


def test_a_gpu_is_read_only_at_the_end_of_an_epoch(monkeypatch, few):
    cupy = cupy_stand_in(monkeypatch)
    reads = {}
    for size in (10, 50):
        settings = VariantSettings(hidden=[12], lr=0.1, batch_size=size, epochs=2)
        cupy.ndarray.reads = 0
        trained(settings, few, few, device=find_device("gpu"))
        reads[size] = cupy.ndarray.reads
    # Cost and accuracy, twice; two weights and two biases; two sets of two norms.
    assert reads[10] == reads[50] == 2 * (2 * 2 + 4 + 2 * 2)


def test_a_batch_too_large_for_the_gpu_names_a_size_that_fits(monkeypatch, few):
    cupy_stand_in(monkeypatch, free=20_000)
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size="all", epochs=1)
    with pytest.raises(
        DeviceError, match=r"a batch of 200 images needs .* batch_size 56 would fit"
    ):
        trained(settings, few, few, device=find_device("gpu"))


def test_images_too_large_for_the_gpu_are_a_one_line_error(monkeypatch, few):
    cupy = cupy_stand_in(monkeypatch)
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size=32, epochs=1)
    engine = find_device("gpu").engine(make_network(settings, 10, 0)[0], settings)

    def no_room(_):
        raise MemoryError

    cupy.asarray = no_room
    with pytest.raises(DeviceError, match=r"the GPU has no room for .* a smaller train_limit"):
        held(engine, few)


def test_only_the_cores_available_to_this_process_count(monkeypatch):
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    assert machine.available_cores() == 3
    settings = VariantSettings(hidden=[12], lr=0.1, batch_size=32, epochs=1)
    assert CPU.engine(make_network(settings, 10, 0)[0]).threads == 3
