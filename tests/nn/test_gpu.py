"""Training on a real GPU gives the processor's bytes. Skipped if there is none."""

import numpy as np
import pytest

from pipeline.base.errors import DeviceError
from pipeline.base.params import VariantSettings
from pipeline.nn.devices import find_device
from tests.nn.digests import digest
from tests.nn.drawn import CLASSES, images_of, network_of
from tests.nn.test_bits import DIGESTS
from tests.training import held, trained

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def gpu():
    try:
        return find_device("gpu")
    except DeviceError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def few(digits):
    """The digits that the digests were made with."""
    rows = np.random.default_rng(0).permutation(5000)[:1400]
    return digits.images[rows].reshape(-1, 784), digits.labels[rows]


@pytest.mark.parametrize("variant", DIGESTS)
def test_a_real_gpu_gives_the_digests_of_processors(variant, gpu, few):
    assert digest(variant, *few, device=gpu) == DIGESTS[variant]


OTHERS = {
    "full batch, clipped": {"batch_size": "all", "clip_norm": 0.1, "clip_value": 0.01},
    "sigmoid": {
        "activation": "sigmoid", "output": "sigmoid", "loss": "mean_squared_error", "lr": 1.0
    },
    "tanh, dropout": {"activation": "tanh", "dropout": 0.3, "momentum": 0.9, "nesterov": True},
    "adam, wide": {"hidden": [700, 600], "optimizer": "adam", "lr": 0.001},
}  # fmt: skip


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS)
def test_a_real_gpu_gives_the_bytes_of_the_compiled_code(changes, gpu, digits):
    values = {"hidden": [60, 30], "lr": 0.1, "batch_size": 100, "epochs": 2}
    variant = VariantSettings(**(values | changes))
    pair = images_of(digits, 1500)
    (ours, our_reports), (theirs, their_reports) = (
        trained(variant, pair, pair, device=device) for device in (gpu, find_device("cpu"))
    )
    assert our_reports == their_reports
    for name, array in ours.parameters.items():
        assert array.tobytes() == theirs.parameters[name].tobytes(), name


def test_a_full_batch_of_60_000_images_takes_less_than_a_gibibyte_and_a_half(gpu):
    import cupy

    variant = VariantSettings(hidden=[107, 26], lr=0.1, batch_size="all", epochs=1)
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 256, (60_000, 784), np.uint8)
    engine = gpu.engine(network_of(variant), variant)
    labels = rng.integers(0, CLASSES, 60_000, np.uint8)
    images = held(engine, (levels / np.float32(255), labels))
    engine.train(images, None, np.ones(1))
    assert pool.total_bytes() < 1.5 * 2**30
