"""Steps in buffers and blocks against the readable definitions that they must equal."""

import numpy as np
import pytest

from pipeline.nn.backend import CPU
from pipeline.nn.batches import Batch
from pipeline.nn.gradients import make_clip
from pipeline.nn.network import Architecture, initialize_network
from pipeline.nn.optimizers import make_optimizer
from pipeline.nn.parallel import Workers
from pipeline.nn.steps import SHARED_PRODUCT, Steps
from pipeline.params import VariantSettings

TILED, SHARED, SMALL = 1300, 90, 16
"""Batch sizes that take each of the three ways, with the networks below."""

NETWORKS = {
    "one layer": ((784, 10), "relu", "softmax", "cross_entropy"),
    "relu": ((784, 64, 12, 10), "relu", "softmax", "cross_entropy"),
    "tanh": ((784, 80, 10), "tanh", "softmax", "cross_entropy"),
    "sigmoid, squared error": ((784, 64, 30, 10), "sigmoid", "sigmoid", "mean_squared_error"),
    "softmax, squared error": ((784, 64, 10), "relu", "softmax", "mean_squared_error"),
    "narrow then wide": ((784, 16, 900, 10), "relu", "softmax", "cross_entropy"),
}
OPTIMIZERS = {
    "sgd": {"lr": 0.1},
    "momentum and l2": {"lr": 0.1, "momentum": 0.9, "l2": 0.01},
    "adam and l2": {"lr": 0.01, "optimizer": "adam", "l2": 0.01},
    "clipped by value": {"lr": 0.1, "clip_value": 1e-3},
    "clipped by norm": {"lr": 0.1, "momentum": 0.5, "clip_norm": 0.05},
}


@pytest.fixture(scope="module")
def examples(digits):
    rows = np.random.default_rng(1).permutation(5000)[: 2 * TILED]
    inputs = (digits.images[rows].reshape(-1, 784) / 255).astype(np.float32)
    return Batch(inputs, digits.labels[rows].astype(np.int64))


def settings_of(sizes, size, **changes):
    values = {"hidden": list(sizes[1:-1]), "lr": 0.1, "batch_size": size, "epochs": 1}
    return VariantSettings(**(values | changes))


def network_of(name):
    return initialize_network(Architecture(*NETWORKS[name]), "he", np.random.default_rng(2))


def batches_of(examples, size, count):
    return [
        Batch(examples.inputs[start : start + size], examples.labels[start : start + size])
        for start in range(0, count * size, size)
    ]


def by_definition(network, settings, batches):
    """Train as the definitions say; give the costs, right answers and last gradients."""
    optimizer, clip = make_optimizer(settings), make_clip(settings)
    cost, right = 0.0, 0
    for batch in batches:
        outputs, backward = network.forward(batch.inputs)
        costs, dy = network.loss(outputs, batch.labels)
        cost += costs.sum(dtype=np.float64)
        right += (outputs.argmax(axis=1) == batch.labels).sum()
        gradients = backward(dy / len(batch))
        optimizer.step(network.parameters, clip(gradients) if clip else gradients)
    return cost, right, gradients


def by_steps(network, settings, batches, threads):
    with Workers(CPU, threads) as workers:
        steps = Steps(network, settings, workers)
        return *steps.epoch(batches), steps.gradients


def check(name, size, changes, examples):
    settings = settings_of(NETWORKS[name][0], size, **changes)
    batches = batches_of(examples, size, 2)
    defined, stepped, alone = network_of(name), network_of(name), network_of(name)
    cost, right, gradients = by_definition(defined, settings, batches)
    measured = by_steps(stepped, settings, batches, 2)
    assert measured[0] == pytest.approx(cost, rel=1e-5)
    assert measured[1] == right
    for key, gradient in gradients.items():
        np.testing.assert_allclose(measured[2][key], gradient, rtol=2e-3, atol=2e-6, err_msg=key)
        np.testing.assert_allclose(
            stepped.parameters[key], defined.parameters[key], rtol=2e-3, atol=2e-5, err_msg=key
        )
    assert by_steps(alone, settings, batches, 1)[:2] == measured[:2]
    np.testing.assert_array_equal(alone.vector, stepped.vector)


@pytest.mark.parametrize("size", [TILED, SHARED, SMALL])
@pytest.mark.parametrize("name", NETWORKS)
def test_steps_in_blocks_are_those_of_the_definition(name, size, examples):
    check(name, size, {"lr": 0.05, "momentum": 0.9}, examples)


@pytest.mark.parametrize("size", [TILED, SHARED, SMALL])
@pytest.mark.parametrize("changes", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimiser_and_limit_works_in_blocks(changes, size, examples):
    check("relu", size, changes, examples)


def test_the_sizes_tried_here_take_the_three_ways():
    workers = Workers(CPU, 1)
    assert len(workers.tiles(TILED)) > 1
    assert len(workers.tiles(SHARED)) == len(workers.tiles(SMALL)) == 1
    assert SMALL * 784 * 64 < SHARED_PRODUCT < SHARED * 784 * 64


def test_the_last_smaller_batch_uses_the_same_buffers(examples):
    settings = settings_of((784, 64, 12, 10), SHARED)
    batches = [*batches_of(examples, SHARED, 2), Batch(examples.inputs[:7], examples.labels[:7])]
    defined, stepped = network_of("relu"), network_of("relu")
    by_definition(defined, settings, batches)
    by_steps(stepped, settings, batches, 2)
    np.testing.assert_allclose(stepped.vector, defined.vector, rtol=2e-3, atol=2e-5)
