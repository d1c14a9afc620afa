"""The compiled code agrees with the definition and keeps its own guarantees."""

import math
import os
import signal
import subprocess
import sys
import time
from ctypes import CFUNCTYPE, c_longlong

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import cfunc, types

from pipeline.base.params import VariantSettings
from pipeline.nn.compiled import engine as engine_module
from pipeline.nn.compiled import kernels
from pipeline.nn.compiled.engine import CompiledEngine, aligned
from pipeline.nn.dropout import factors
from pipeline.nn.gradients import clip
from pipeline.nn.losses import one_hot, smoothed
from pipeline.nn.network import Network
from pipeline.nn.optimizers import make_optimizer
from tests.conftest import ROOT
from tests.nn.drawn import CLASSES, draws_of, images_of, lr_of, network_of, variants
from tests.nn.gradient_check import central_difference
from tests.refusal import refused


def double(network):
    parameters = {name: array.astype(np.float64) for name, array in network.parameters.items()}
    return Network(network.architecture, parameters)


def by_definition(network, variant, inputs, labels, order):
    """Train for an epoch by the definition; return costs, hits and the last gradients."""
    optimizer, size = make_optimizer(variant), variant.batch_size
    size = len(labels) if size == "all" else size
    cost, hits, words = 0.0, 0, draws_of(variant, len(labels)).drops
    for step, optimizer.lr in enumerate(lr_of(variant, len(labels)).tolist()):
        rows = order[step * size : (step + 1) * size]
        drops = (
            ()
            if words is None
            else [
                factors(words[rows, at], neurons, variant.dropout).astype(np.float64)
                for at, neurons in enumerate(variant.hidden)
            ]
        )
        targets = one_hot(labels[rows], CLASSES, np.dtype(np.float64))
        outputs, backward = network.forward(inputs[rows].astype(np.float64), drops=drops)
        costs, _ = network.loss(outputs, targets)
        _, dy = network.loss(outputs, smoothed(targets, variant.label_smoothing))
        cost, hits = cost + costs.sum(), hits + (outputs.argmax(1) == labels[rows]).sum()
        gradients = backward(dy / len(rows))
        optimizer.step(network.parameters, clip(gradients, variant))
    return cost, hits, gradients


def assert_close(cost, parameters, wanted_cost, wanted, variant):
    """Compare an epoch in float32 with the same epoch in float64."""
    # Adam divides by the size of the gradient, and so magnifies the rounding of small ones.
    assert cost == pytest.approx(wanted_cost, rel=1e-5 if variant.optimizer == "sgd" else 1e-4)
    off = np.concatenate(
        [np.abs(parameters[name] - array).ravel() for name, array in wanted.items()]
    )
    if variant.activation == "relu" or variant.optimizer != "sgd":
        # Rounding decides where a pre-activation is next to ReLU's kink, and Adam follows the sign
        # even of a gradient in which L2 and cost cancel.
        assert off.max() <= 0.1 * variant.lr * (1 if variant.optimizer == "sgd" else 20)
        off = np.sort(off)[: math.ceil(0.9 * len(off))]
    assert off.max() <= 1e-5


@settings(max_examples=60, deadline=None)
@given(variants(), st.sampled_from([0, 0.3]), st.integers(1, 3))
def test_an_epoch_is_that_of_the_definition_for_any_settings(digits, variant, shift, threads):
    size = 300 if variant.batch_size == "all" else variant.batch_size
    # Rounding grows from step to step: ten steps and a smaller one are enough.
    count = min(300, 10 * size + size // 2)
    inputs, labels = images_of(digits, count, shift)
    network = network_of(variant)
    defined = double(network)
    engine = CompiledEngine(network, variant, threads)
    order = np.random.default_rng(3).permutation(count)
    images = engine.hold([(inputs, labels)], count)
    rates, draws = lr_of(variant, count), draws_of(variant, count)
    cost, _ = engine.train(images, None if size == 300 else order, rates, draws)
    wanted, _, gradients = by_definition(defined, variant, inputs, labels, order)
    assert_close(cost, network.parameters, wanted, defined.parameters, variant)
    norms = [np.linalg.norm(gradients[f"layer{n + 1}.weight"]) for n in range(len(network.layers))]
    assert engine.norms("gradient") == pytest.approx(norms, rel=2e-3, abs=1e-6)
    norms = [np.linalg.norm(layer.weight) for layer in defined.layers]
    assert engine.norms("weight") == pytest.approx(norms, rel=1e-4)


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
@pytest.mark.parametrize(
    ("output", "loss"),
    [
        ("softmax", "cross_entropy"),
        ("softmax", "mean_squared_error"),
        ("sigmoid", "mean_squared_error"),
    ],
)
def test_a_gradient_equals_a_central_difference_of_the_cost(activation, output, loss, digits):
    variant = VariantSettings(
        hidden=[9, 3], activation=activation, output=output, loss=loss, lr=1.0, batch_size="all",
        epochs=1,
    )  # fmt: skip
    inputs, labels = images_of(digits, 150)
    network = network_of(variant)
    exact, doubled = double(network), inputs.astype(np.float64)
    targets = one_hot(labels, CLASSES, np.dtype(np.float64))
    before = {name: array.copy() for name, array in network.parameters.items()}
    engine = CompiledEngine(network, variant, 2)
    images = engine.hold([(inputs, labels)], 150)
    engine.train(images, None, np.ones(1))  # with lr 1, the step is the gradient
    for name in ("layer2.weight", "layer3.weight", "layer1.bias", "layer2.bias", "layer3.bias"):
        numeric = central_difference(
            lambda: float(exact.loss(exact.forward(doubled)[0], targets)[0].mean()),
            exact.parameters[name],
        )
        step = before[name] - network.parameters[name]
        np.testing.assert_allclose(step, numeric, rtol=1e-3, atol=2e-6, err_msg=name)


@pytest.mark.parametrize("size", [1, 5, 128, 129, 300])
@pytest.mark.parametrize("hidden", [[], [1], [15, 16, 17], [65, 130]])
def test_skipping_zero_pixels_changes_no_bit(size, hidden, digits, monkeypatch):
    inputs, labels = images_of(digits, 300)
    variant = VariantSettings(
        hidden=hidden, lr=1e-25, momentum=0.9, l2=1e-3, batch_size=size, epochs=1
    )  # the weights stay finite; otherwise a norm is not finite, and training ends
    odd = np.array([-0.0, 0.0, 1e-45, -1e-45, -1e-42, 1e-38, 3e18, -3e18], np.float32)
    ends = []
    for most in (0.0, 1.0):  # first no set is sparse, then every set is
        monkeypatch.setattr(engine_module, "MOST_ENTRIES", most)
        network = network_of(variant)
        weight = network.parameters["layer1.weight"]
        weight[::3] = np.resize(odd, weight[::3].shape)
        engine = CompiledEngine(network, variant, 1)
        images = engine.hold([(inputs, labels)], 300)
        assert (images.zero is None) == (most == 0.0)
        totals = engine.train(images, np.arange(300), lr_of(variant, 300))
        assert np.isfinite(engine.norms("weight")).all()
        ends.append((totals, *(array.tobytes() for array in network.parameters.values())))
    assert ends[0][1:] == ends[1][1:]
    assert repr(ends[0][0]) == repr(ends[1][0])


def test_leaving_out_hidden_neurons_that_are_0_changes_no_bit(digits):
    # A layer of 128 reads all neurons of the layer before it, one of 129 only those that are not 0.
    inputs, labels = images_of(digits, 300)
    narrow, wide = (
        VariantSettings(hidden=[200, neurons], optimizer="adam", lr=0.01, batch_size=130, epochs=1)
        for neurons in (128, 129)
    )
    networks = network_of(narrow), network_of(wide)
    for name, array in networks[1].parameters.items():  # a neuron that nothing leads to or from
        start = networks[0].parameters[name]
        array[...] = 0
        array[tuple(map(slice, start.shape))] = start
    totals = []
    for network, variant in zip(networks, (narrow, wide), strict=True):
        engine = CompiledEngine(network, variant, 2)
        images = engine.hold([(inputs, labels)], 300)
        for _ in range(3):
            total = engine.train(images, np.arange(300), lr_of(variant, 300))
        totals.append(total)
    assert totals[0] == totals[1]
    for name, array in networks[0].parameters.items():
        part = networks[1].parameters[name][tuple(map(slice, array.shape))]
        np.testing.assert_array_equal(array, part)


@pytest.mark.parametrize("size", [20, 300, "all"])
def test_clipping_and_adam_give_the_same_bits_on_any_number_of_threads(size, digits):
    inputs, labels = images_of(digits, 700)
    variant = VariantSettings(
        hidden=[150, 20], lr=0.01, optimizer="adam", clip_norm=0.1, clip_value=0.01,
        batch_size=size, epochs=1,
    )  # fmt: skip
    ends = set()
    for threads in (1, 2, 3, 8):
        network = network_of(variant)
        engine = CompiledEngine(network, variant, threads)
        images = engine.hold([(inputs, labels)], 700)
        for _ in range(2):
            engine.train(images, np.arange(700), lr_of(variant, 700))
        ends.add(b"".join(array.tobytes() for array in network.parameters.values()))
    assert len(ends) == 1


def test_images_take_a_quarter_of_the_memory_of_their_inputs(digits):
    inputs, labels = images_of(digits, 2000)
    variant = VariantSettings(hidden=[8], lr=0.1, batch_size=32, epochs=1)
    images = CompiledEngine(network_of(variant), variant).hold([(inputs, labels)], 2000)
    held = images.levels.nbytes + images.labels.nbytes + images.table.nbytes
    assert held < 0.26 * inputs.nbytes


def test_inputs_with_more_than_256_values_are_rejected():
    variant = VariantSettings(hidden=[8], lr=0.1, batch_size=32, epochs=1)
    engine = CompiledEngine(network_of(variant), variant)
    inputs = np.random.default_rng(0).random((2, 784), np.float32)
    with refused(match="at most 256 distinct pixel values"):
        engine.hold([(inputs, np.zeros(2, np.uint8))], 2)


def elementwise(number):
    """Compile a function of `kernels.FUNCTIONS` into one that takes arrays."""

    @cfunc(types.void(types.intp, types.intp, types.intp))
    def compiled(x, y, vectors):
        kernels.apply(number, x, y, vectors)

    def call(x):
        given, result = aligned((-(-len(x) // 16) * 16,)), aligned((-(-len(x) // 16) * 16,))
        given[: len(x)] = x
        CFUNCTYPE(None, c_longlong, c_longlong, c_longlong)(compiled.address)(
            given.ctypes.data, result.ctypes.data, len(given) // 16
        )
        return result[: len(x)]

    return call


EXACT = [
    (1, np.exp, np.linspace(-103, 88.7, 200_001), 2),
    (2, np.log, np.geomspace(1.2e-38, 3e38, 200_001), 2),
    (3, np.tanh, np.r_[np.linspace(-12, 12, 200_001), np.geomspace(1e-30, 1, 20_001)], 2),
    (4, lambda x: 1 / (1 + np.exp(-x)), np.linspace(-87, 100, 200_001), 2.5),
]


@pytest.mark.parametrize(
    ("number", "exact", "x", "most"), EXACT, ids=["exp", "log", "tanh", "sigmoid"]
)
def test_elementary_functions_are_within_two_units_in_the_last_place(number, exact, x, most):
    x = x.astype(np.float32)
    wanted = exact(x.astype(np.float64))
    unit = np.spacing(np.abs(wanted).astype(np.float32)).astype(np.float64)
    assert (np.abs(elementwise(number)(x) - wanted) / unit).max() <= most


@pytest.mark.parametrize(
    ("number", "x", "wanted"),
    [
        (1, [0, -200, 200, math.nan, -math.inf, math.inf], [1, 0, math.inf, math.nan, 0, math.inf]),
        (2, [1, math.inf, math.nan], [0, math.inf, math.nan]),
        (3, [0, -50, 50, math.nan], [0, -1, 1, math.nan]),
        (4, [0, -200, 200, math.nan], [0.5, 0, 1, math.nan]),
    ],
    ids=["exp", "log", "tanh", "sigmoid"],
)
def test_elementary_functions_at_their_limits(number, x, wanted):
    np.testing.assert_array_equal(elementwise(number)(np.array(x, np.float32)), wanted)


LONG = """
import time
import numpy as np
from pipeline.nn.devices import CPU
from pipeline.nn.training import make_network
from pipeline.base.params import VariantSettings

settings = VariantSettings(hidden=[1024, 1024], lr=0.1, batch_size=128, epochs=1)
network, rng = make_network(settings, 10, 0)
engine = CPU.engine(network, settings)
inputs = np.random.default_rng(0).integers(0, 2, (30_000, 784)).astype(np.float32)
images = engine.hold([(inputs, np.zeros(30_000, np.uint8))], 30_000)
print("begins", flush=True)
start = time.process_time()
try:
    engine.train(images, np.arange(30_000), np.full(235, 0.1))
except KeyboardInterrupt:
    print(time.process_time() - start)
"""


def test_ctrl_c_stops_training_within_a_second(tmp_path):
    script = tmp_path / "long.py"
    script.write_text(LONG)
    process = subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout.readline() == "begins\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert errors == ""
    assert float(output) < 2 * (0.3 + 1)  # processor time of two threads; the epoch takes over 7 s
