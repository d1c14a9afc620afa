import numpy as np
import pytest

from pipeline.nn.layers import Linear
from pipeline.nn.network import Architecture, initialize_network
from tests.nn.gradient_check import central_difference

X = np.random.default_rng(2).normal(size=(4, 6))
Y = np.eye(3)[[0, 2, 1, 2]]

ARCHITECTURES = [
    Architecture((6, 3), "relu", "softmax", "cross_entropy"),
    Architecture((6, 5, 3), "relu", "softmax", "cross_entropy"),
    Architecture((6, 5, 4, 3), "tanh", "softmax", "cross_entropy"),
    Architecture((6, 5, 4, 3), "sigmoid", "sigmoid", "mean_squared_error"),
    Architecture((6, 4, 3), "tanh", "softmax", "mean_squared_error"),
    Architecture((6, 5, 5, 4, 4, 3), "tanh", "softmax", "cross_entropy"),
]


def network_of(architecture, dtype=np.float64):
    network = initialize_network(architecture, "glorot", np.random.default_rng(3), dtype=dtype)
    for name, parameter in network.parameters.items():
        if name.endswith("bias"):  # away from 0, where a wrong bias gradient could hide
            parameter += np.linspace(-0.3, 0.4, len(parameter))
    return network


def mean_cost(network, x, y):
    return float(network.loss(network.forward(x)[0], y)[0].mean())


def gradients_of_mean_cost(network, x, y):
    outputs, backward = network.forward(x)
    _, dy = network.loss(outputs, y)
    return backward(dy / len(x))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_every_gradient_of_a_network_equals_a_central_difference(architecture):
    network = network_of(architecture)
    gradients = gradients_of_mean_cost(network, X, Y)
    assert sorted(gradients) == sorted(architecture.parameter_shapes())
    for name, parameter in network.parameters.items():
        numeric = central_difference(lambda: mean_cost(network, X, Y), parameter)
        np.testing.assert_allclose(gradients[name], numeric, rtol=1e-5, atol=1e-9, err_msg=name)


def test_the_input_gradient_of_a_linear_layer_equals_a_central_difference():
    rng = np.random.default_rng(4)
    layer, dy = Linear(rng.normal(size=(6, 3)), rng.normal(size=3)), rng.normal(size=(4, 3))
    x = X.copy()
    _, backward = layer.forward(x)
    dx, gradients = backward(dy)
    for array, gradient in (
        (x, dx),
        (layer.weight, gradients["weight"]),
        (layer.bias, gradients["bias"]),
    ):
        numeric = central_difference(lambda: float((layer.forward(x)[0] * dy).sum()), array)
        np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-9)


def test_a_first_layer_can_skip_its_input_gradient():
    dx, gradients = Linear(np.ones((6, 3)), np.zeros(3)).forward(X)[1](
        np.ones((4, 3)), input_gradient=False
    )
    assert dx is None
    assert gradients["weight"].shape == (6, 3)


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_float32_networks_compute_in_float32_throughout(architecture):
    network = network_of(architecture, np.float32)
    outputs, backward = network.forward(X.astype(np.float32))
    costs, dy = network.loss(outputs, Y.astype(np.float32))
    assert outputs.dtype == costs.dtype == dy.dtype == np.float32
    assert network.probabilities(outputs).dtype == np.float32
    assert {gradient.dtype for gradient in backward(dy).values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_probabilities_sum_to_one_and_keep_the_order_of_the_outputs(architecture):
    network = network_of(architecture)
    outputs, _ = network.forward(X)
    probabilities = network.probabilities(outputs)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(probabilities.argmax(axis=1), outputs.argmax(axis=1))


def test_the_published_network_has_its_published_number_of_parameters():
    architecture = Architecture((784, 196, 49, 10), "relu", "softmax", "cross_entropy")
    assert architecture.parameter_count() == 164_013


def test_a_seed_gives_the_same_weights_in_either_precision():
    architecture = Architecture((6, 5, 3), "relu", "softmax", "cross_entropy")
    double, single = (
        initialize_network(architecture, "he", np.random.default_rng(5), dtype=dtype)
        for dtype in (np.float64, np.float32)
    )
    for name, parameter in double.parameters.items():
        np.testing.assert_array_equal(single.parameters[name], parameter.astype(np.float32))


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=str)
def test_every_gradient_equals_that_of_pytorch(architecture):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    network = network_of(architecture)
    tensors = {
        name: torch.tensor(parameter, requires_grad=True)
        for name, parameter in network.parameters.items()
    }
    functions = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softmax": lambda z: torch.softmax(z, dim=1),
    }
    layers = len(architecture.sizes) - 1
    x = torch.tensor(X)
    for number in range(1, layers + 1):
        x = x @ tensors[f"layer{number}.weight"] + tensors[f"layer{number}.bias"]
        if number < layers:
            x = functions[architecture.activation](x)
    if architecture.loss == "cross_entropy":
        cost = torch.nn.functional.cross_entropy(x, torch.tensor(Y.argmax(axis=1)))
    else:
        cost = torch.nn.functional.mse_loss(functions[architecture.output](x), torch.tensor(Y))
    cost.backward()
    assert mean_cost(network, X, Y) == pytest.approx(cost.item(), rel=1e-12)
    for name, gradient in gradients_of_mean_cost(network, X, Y).items():
        np.testing.assert_allclose(
            gradient, tensors[name].grad.numpy(), rtol=1e-9, atol=1e-13, err_msg=name
        )
