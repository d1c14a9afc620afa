"""Which outputs dropout leaves out."""

import numpy as np
import pytest

from pipeline.datasets.draws import key_of
from pipeline.nn.dropout import factors, keys
from pipeline.nn.network import Architecture, initialize_network
from tests.nn.gradient_check import central_difference

KEY = key_of(np.random.default_rng(0))


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
def test_outputs_are_left_out_at_the_rate_and_the_others_scaled_so_that_the_mean_stays(rate):
    found = factors(keys(KEY, 1, np.arange(500), 1)[:, 0], 400, rate)
    assert set(np.unique(found)) <= {np.float32(0), np.float32(1 / (1 - rate))}
    # Within 5 standard deviations of the mean of 200,000 draws.
    assert (found == 0).mean() == pytest.approx(rate, abs=5 * np.sqrt(rate * (1 - rate) / 200_000))
    assert found.dtype == np.float32


def test_images_layers_epochs_and_seeds_leave_out_different_outputs():
    words = [
        keys(key_of(np.random.default_rng(seed)), epoch, np.array([image]), 2)[:, layer]
        for seed in (0, 1)
        for epoch in (1, 2)
        for image in (0, 1)
        for layer in (0, 1)
    ]
    drawn = np.concatenate([factors(some, 2000, 0.5) for some in words]) > 0
    agree = (drawn[:, np.newaxis] == drawn).mean(axis=2)
    agree[np.diag_indices(16)] = 0.5
    assert abs(agree - 0.5).max() < 5 * 0.5 / np.sqrt(2000)


def test_an_image_has_the_same_draws_in_any_company():
    alone = keys(KEY, 3, np.array([7]), 2)
    among = keys(KEY, 3, np.array([9, 7, 8]), 2)
    np.testing.assert_array_equal(alone[0], among[1])


@pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh"])
def test_the_gradient_is_that_of_the_network_without_the_outputs_left_out(activation):
    rng = np.random.default_rng(1)
    architecture = Architecture((6, 5, 4, 3), activation, "softmax", "cross_entropy")
    network = initialize_network(architecture, "glorot", rng, np.float64)
    x, targets = rng.normal(size=(8, 6)), np.eye(3)[rng.integers(0, 3, 8)]
    words = keys(KEY, 1, np.arange(8), 2)
    drops = [factors(words[:, at], size, 0.4).astype(float) for at, size in enumerate((5, 4))]

    def cost():
        return float(network.loss(network.forward(x, drops=drops)[0], targets)[0].mean())

    outputs, backward = network.forward(x, drops=drops)
    gradients = backward(network.loss(outputs, targets)[1] / len(x))
    for name, parameter in network.parameters.items():
        numeric = central_difference(cost, parameter)
        np.testing.assert_allclose(gradients[name], numeric, atol=1e-7, err_msg=name)
