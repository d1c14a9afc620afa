"""The GPU's kernels give the same bytes as the compiled code. `emulator.h` runs them."""

import importlib.util
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.params import Augment, VariantSettings
from pipeline.datasets.augment import DISTORTION, Distortions, distort
from pipeline.nn.arithmetic import ORDER
from pipeline.nn.devices import CPU, Draws, find_device
from pipeline.nn.gpu import engine as engine_module
from pipeline.nn.gpu.device import OPTIONS
from pipeline.nn.gpu.source import record, source
from pipeline.nn.network import Architecture, initialize_network
from tests.conftest import shipped_settings
from tests.nn.cupy_stand_in import cupy_stand_in, emulated, ndarray
from tests.nn.digests import digest
from tests.nn.drawn import KEY, draws_of, images_of, lr_of, network_of, variants
from tests.nn.test_bits import DIGESTS
from tests.training import TABLE, held, trained

pytestmark = pytest.mark.long

VARIANTS = shipped_settings().variants


@pytest.fixture(scope="module")
def gpu():
    with pytest.MonkeyPatch.context() as patch:
        cupy_stand_in(patch)
        yield find_device("gpu")


def results(engine, images, order, rates, draws):
    """Return all that an epoch of training gives, as bytes."""
    totals = engine.train(images, order, rates, draws)
    numbers = [totals, engine.measure(images), engine.norms("weight"), engine.norms("gradient")]
    arrays = engine.network.parameters | engine.state()
    arrays["probabilities"] = engine.probabilities(images)
    return repr(numbers), {name: array.tobytes() for name, array in arrays.items()}


def assert_same_bytes(gpu, variant, inputs, labels, table=None, draws=None):
    count = len(labels)
    whole = variant.batch_size == "all"
    order = None if whole else np.random.default_rng(3).permutation(count)
    ends = []
    for device in (CPU, gpu):
        engine = device.engine(network_of(variant), variant)
        images = engine.hold([(inputs, labels)], count, table)
        ends.append(
            results(engine, images, order, lr_of(variant, count), draws or draws_of(variant, count))
        )
    assert ends[0][0] == ends[1][0]
    assert ends[0][1] == ends[1][1]


@emulated
@settings(max_examples=15, deadline=None)
@given(variants(), st.sampled_from([0, 0.3]))
def test_an_epoch_gives_the_same_bytes_with_any_settings(gpu, digits, variant, shift):
    size = 300 if variant.batch_size == "all" else variant.batch_size
    count = min(300, 2 * size + size // 2)
    assert_same_bytes(gpu, variant, *images_of(digits, count, shift))


@emulated
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_gives_the_same_bytes(name, gpu, digits):
    variant = VARIANTS[name].model_copy(update={"batch_size": 40, "epochs": 1})
    inputs, labels = images_of(digits, 50)
    draws = draws_of(variant, 50)
    if variant.augment is not None:
        distortions = Distortions(variant.augment, KEY)
        draws = Draws(distortions.draw(1, np.arange(50)), distortions.fields, draws.drops)
    assert_same_bytes(gpu, variant, inputs, labels, TABLE, draws)


@emulated
@pytest.mark.parametrize(
    "changes",
    [{}, {"clip_norm": 0.1, "clip_value": 0.01}, {"optimizer": "adam", "lr": 0.01}],
    ids=["plain", "clipped", "adam"],
)
@pytest.mark.parametrize(
    "limits", [{}, {"ROUND": 256}, {"ROOM": 2**17}], ids=["one", "few", "least"]
)
def test_a_large_batch_is_spread_over_tiles_and_rounds(changes, limits, gpu, digits, monkeypatch):
    for name, value in limits.items():
        monkeypatch.setattr(engine_module, name, value)
    values = {"hidden": [20], "lr": 0.1, "momentum": 0.9, "batch_size": 600, "epochs": 1}
    if "optimizer" in changes:
        values["momentum"] = 0.0
    variant = VariantSettings(**(values | changes))
    assert_same_bytes(gpu, variant, *images_of(digits, 1000))


@emulated
@pytest.mark.parametrize("hidden", [[600], [20, 600, 20], [600, 20], [113, 500, 30]])
def test_wide_layers_give_the_same_bytes(hidden, gpu, digits):
    variant = VariantSettings(hidden=hidden, lr=0.1, dropout=0.2, batch_size=20, epochs=1)
    assert_same_bytes(gpu, variant, *images_of(digits, 30))


@emulated
def test_an_epoch_of_many_steps_is_several_graphs(gpu, digits, monkeypatch):
    monkeypatch.setattr(engine_module, "STEPS", 3)
    variant = VariantSettings(
        hidden=[9], lr=0.1, optimizer="adam", dropout=0.5, schedule="linear", batch_size=5, epochs=1
    )
    assert_same_bytes(gpu, variant, *images_of(digits, 38))


@emulated
def test_many_classes_give_the_same_bytes(gpu, digits):
    variant = VariantSettings(hidden=[20], lr=0.1, batch_size=32, epochs=1)
    inputs, labels = images_of(digits, 80)
    ends = []
    for device in (CPU, gpu):
        architecture = Architecture((784, 20, 62), "relu", "softmax", "cross_entropy")
        network = initialize_network(architecture, "glorot", np.random.default_rng(0))
        engine = device.engine(network, variant)
        images = held(engine, (inputs, labels + 50))
        ends.append(results(engine, images, np.arange(80), np.full(3, 0.1), Draws()))
    assert ends[0] == ends[1]


@emulated
@pytest.mark.parametrize("strengths", [{"rotate": 30.0, "shift": 4.0}, {"elastic": 3.0}])
def test_distorted_images_are_those_of_the_definition(strengths, gpu, digits):
    distortions = Distortions(Augment(**strengths), KEY)
    images = digits.images[:40]
    drawn = distortions.draw(2, np.arange(40))
    variant = VariantSettings(hidden=[], lr=1.0, batch_size=1, epochs=1)
    engine = gpu.engine(network_of(variant), variant)
    own = held(engine, (TABLE[images.reshape(-1, 784)], digits.labels[:40]))
    given = engine._distorted(own, Draws(drawn, distortions.fields)).get()
    wanted = distort(images, drawn, distortions.fields).reshape(-1, 784)[:, ORDER]
    np.testing.assert_array_equal(given, wanted)


@emulated
@pytest.mark.parametrize("output", ["softmax", "sigmoid"])
@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_nan_weights_give_a_nan_cost_and_nan_probabilities(activation, output, gpu, digits):
    variant = VariantSettings(
        hidden=[12], activation=activation, output=output, loss="mean_squared_error", lr=0.1,
        batch_size=8, epochs=1,
    )  # fmt: skip
    network = network_of(variant)
    network.parameters["layer1.weight"][...] = np.nan
    for device in (CPU, gpu):
        engine = device.engine(network)
        images = held(engine, images_of(digits, 20))
        assert np.isnan(engine.measure(images)[0])
        assert np.isnan(engine.probabilities(images)).all()


@emulated
def test_the_gpu_is_read_only_at_the_end_of_an_epoch(gpu, digits):
    reads = {}
    pair = images_of(digits, 200)
    for size in (10, 50):
        variant = VariantSettings(hidden=[12], lr=0.1, batch_size=size, epochs=2)
        ndarray.reads = 0
        trained(variant, pair, pair, device=gpu)
        reads[size] = ndarray.reads
    # Costs and hits, twice; the weights; the squares of weights and of gradients.
    assert reads[10] == reads[50] == 2 * (2 * 2 + 1 + 2)


@emulated
def test_a_full_batch_of_any_size_takes_little_memory(gpu):
    variant = VARIANTS["full_batch"]
    engine = gpu.engine(network_of(variant), variant)
    assert sum(array.nbytes for array in engine._room.values()) < 2**26


def test_kernels_read_the_records_that_python_fills():
    for name in ("Run", "Layer", "Distortion"):
        dtype = record(name)
        assert dtype.names is not None
        assert dtype.itemsize % 8 == 0
    assert record("Distortion") == np.dtype(DISTORTION, align=True)


@pytest.mark.skipif(importlib.util.find_spec("cupy_backends") is None, reason="needs the extra gpu")
@pytest.mark.parametrize("architecture", ["compute_75", "compute_80", "compute_90", "sm_90"])
def test_nvrtc_compiles_the_kernels_without_approximations_or_atomics(architecture):
    from cupy_backends.cuda.libs import nvrtc

    program = nvrtc.createProgram(source(), "step.cu", (), ())
    nvrtc.compileProgram(program, (*OPTIONS, f"--gpu-architecture={architecture}"))
    code = nvrtc.getPTX(program)
    text = code.decode() if isinstance(code, bytes) else code
    assert len(re.findall(r"\.entry \w+", text)) == 7
    assert "fma.rn.f32" in text
    assert re.findall(r"approx|\bftz\b|\b(?:atom|red)\.|\bmad\.f", text) == []
    assert nvrtc.getProgramLog(program).strip("\x00") == ""


@emulated
@pytest.mark.slow
@pytest.mark.parametrize("variant", DIGESTS)
def test_two_epochs_end_with_the_digests_of_processors(variant, gpu, digits):
    rows = np.random.default_rng(0).permutation(5000)[:1400]
    few = digits.images[rows].reshape(-1, 784), digits.labels[rows]
    assert digest(variant, *few, device=gpu) == DIGESTS[variant]
