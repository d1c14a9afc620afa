"""Training on a real GPU agrees with the CPU. Skipped, with the reason, if there is none."""

import numpy as np
import pytest

from pipeline.base.errors import DeviceError
from pipeline.base.params_file import read_params
from pipeline.nn.devices import CPU, find_device
from pipeline.nn.training import Score
from tests.conftest import ROOT
from tests.training import held, trained

pytestmark = pytest.mark.gpu

VARIANTS = read_params(ROOT / "params.yaml").variants


@pytest.fixture(scope="module")
def gpu():
    try:
        return find_device("gpu")
    except DeviceError as error:
        pytest.skip(str(error))


def run(settings, device, inputs, labels):
    training, validation = (inputs[1000:], labels[1000:]), (inputs[:1000], labels[:1000])
    return trained(settings, training, validation, device=device)


@pytest.mark.parametrize("variant", VARIANTS)
def test_both_devices_agree_after_one_epoch_and_at_the_end(variant, gpu, digits):
    order = np.random.default_rng(0).permutation(len(digits.labels))
    inputs = (digits.images[order].reshape(-1, 784) / 255).astype(np.float32)
    labels = digits.labels[order]
    settings = VARIANTS[variant].model_copy(update={"epochs": 12})
    _, on_cpu = run(settings, CPU, inputs, labels)
    network, on_gpu = run(settings, gpu, inputs, labels)
    assert on_gpu[0].train.cost == pytest.approx(on_cpu[0].train.cost, abs=1e-4)
    assert on_gpu[0].validation.cost == pytest.approx(on_cpu[0].validation.cost, abs=1e-4)
    assert on_gpu[-1].validation.accuracy == pytest.approx(
        on_cpu[-1].validation.accuracy, abs=0.005
    )
    engine = CPU.engine(network)
    measured = Score.of(engine.measure(held(engine, (inputs[:1000], labels[:1000]))), 1000)
    assert measured.accuracy == pytest.approx(on_gpu[-1].validation.accuracy, abs=0.002)


def test_a_full_batch_of_60_000_images_takes_less_than_a_gibibyte_and_a_half(gpu):
    import cupy

    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    rng = np.random.default_rng(0)
    inputs = rng.random((61_000, 784), np.float32)
    labels = rng.integers(0, 10, 61_000, np.uint8)
    run(VARIANTS["full_batch"].model_copy(update={"epochs": 2}), gpu, inputs, labels)
    assert pool.total_bytes() < 1.5 * 2**30
