"""What `explain` shows is what training computes."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.errors import ModelError
from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.nn.activations import softmax
from pipeline.nn.devices import CPU
from pipeline.nn.inspection import input_gradients, inspect
from pipeline.nn.model_file import Model
from pipeline.nn.network import Network
from pipeline.nn.training import make_network
from tests.nn.gradient_check import central_difference
from tests.refusal import refused

SETTINGS = {
    "relu and cross-entropy": {"hidden": [9, 7]},
    "no hidden layer": {"hidden": []},
    "sigmoid and squares": {
        "hidden": [8], "activation": "sigmoid", "output": "sigmoid", "loss": "mean_squared_error",
    },
}  # fmt: skip


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS)
def model(request):
    settings = VariantSettings(
        lr=0.5, batch_size=8, epochs=1, initializer="glorot", **request.param
    )
    network, _ = make_network(settings, 4, 0)
    training = {"settings": settings.model_dump()}
    return Model("m", network, Normalization("scale", 0.0, 1.0), tuple("abcd"), training)


@pytest.fixture
def image(few_digits):
    return (few_digits.images[3].reshape(-1) / 255).astype(np.float32)


def test_gradients_equal_central_differences_in_float64_on_the_same_image(model, image):
    seen = inspect(model, image, 2)
    double = Network(
        model.network.architecture,
        {name: p.astype(np.float64) for name, p in model.network.parameters.items()},
    )
    inputs = image[np.newaxis].astype(np.float64)

    def cost():
        return float(double.loss(double.forward(inputs)[0], np.eye(4)[[2]])[0][0])

    assert seen.cost == pytest.approx(cost(), rel=1e-12)
    for number, layer in enumerate(seen.layers, start=1):
        for kind, shown in (("weight", layer.weight_gradient), ("bias", layer.bias_gradient)):
            parameter = double.parameters[f"layer{number}.{kind}"]
            numeric = central_difference(cost, parameter)
            scale = max(1e-6, np.abs(numeric).max())
            np.testing.assert_allclose(shown / scale, numeric / scale, atol=1e-5)
        # The bias is added to the pre-activation, so their gradients are equal.
        np.testing.assert_array_equal(layer.delta, layer.bias_gradient)


def test_the_step_shown_is_the_optimisers_step_for_the_gradient_shown(model, image):
    for layer in inspect(model, image, 1).layers:
        step = 0.5 * layer.weight_gradient
        np.testing.assert_array_equal(layer.weight_after, layer.weight - step)
        np.testing.assert_array_equal(layer.bias_after, layer.bias - 0.5 * layer.bias_gradient)


def test_training_on_the_image_alone_gives_what_is_shown_within_float32_precision(model, image):
    seen = inspect(model, image, 3)
    engine = CPU.engine(model.network, VariantSettings(**model.training["settings"]))
    images = engine.hold([(image[np.newaxis], np.array([3]))], 1)
    np.testing.assert_allclose(engine.probabilities(images)[0], seen.probabilities, rtol=1e-5)
    cost, _ = engine.train(images, None, np.array([0.5]))
    assert cost == pytest.approx(seen.cost, rel=1e-5)
    for layer, ours in zip(seen.layers, model.network.layers, strict=True):
        np.testing.assert_allclose(ours.weight, layer.weight_after, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(ours.bias, layer.bias_after, rtol=1e-4, atol=1e-6)


def test_values_pass_from_layer_to_layer_and_end_in_the_probabilities(model, image):
    seen = inspect(model, image, 0)
    x = image
    for layer in seen.layers:
        np.testing.assert_allclose(
            layer.pre_activation, x @ layer.weight + layer.bias, rtol=1e-12, atol=1e-12
        )
        x = layer.activation
    np.testing.assert_allclose(seen.probabilities, x / x.sum(), rtol=1e-12)
    assert seen.predicted == seen.probabilities.argmax()


def test_the_gradient_in_the_output_is_that_of_the_cost_in_what_is_shown_as_the_activation(
    model, image
):
    seen = inspect(model, image, 2)
    last = seen.layers[-1]
    if model.network.architecture.loss == "cross_entropy":
        # cost = -log p at the true class; p - y is the gradient in the logits.
        expected = [0, 0, -1 / seen.probabilities[2], 0]
        np.testing.assert_allclose(last.delta, seen.probabilities - np.eye(4)[2], atol=1e-12)
    else:
        expected = (last.activation - np.eye(4)[2]) * 2 / 4
        slope = last.activation * (1 - last.activation)
        np.testing.assert_allclose(last.delta, expected * slope, rtol=1e-12)
    np.testing.assert_allclose(last.output_gradient, expected, rtol=1e-12)


def test_softmax_carries_the_gradient_in_probabilities_to_the_one_in_logits(image):
    settings = VariantSettings(hidden=[6], lr=0.5, batch_size=8, epochs=1, label_smoothing=0.2)
    network, _ = make_network(settings, 4, 0)
    scale = Normalization("scale", 0.0, 1.0)
    training = {"settings": settings.model_dump()}
    last = inspect(Model("m", network, scale, tuple("abcd"), training), image, 1).layers[-1]
    _, backward = softmax(last.pre_activation[np.newaxis])
    np.testing.assert_allclose(backward(last.output_gradient[np.newaxis])[0], last.delta)


def test_a_probability_that_underflows_gives_a_finite_gradient(model, image):
    parameters = model.network.parameters
    parameters[list(parameters)[-1]][:] = [1e4, 0, 0, 0]
    seen = inspect(model, image, 1)
    assert np.isfinite((seen.layers[-1].output_gradient ** 2).sum())


def test_the_step_shown_changes_the_probabilities_and_the_cost_as_shown(model, image):
    seen = inspect(model, image, 1)
    after = {}
    for number, layer in enumerate(seen.layers, start=1):
        after |= {
            f"layer{number}.weight": layer.weight_after,
            f"layer{number}.bias": layer.bias_after,
        }
    again = inspect(replace(model, network=Network(model.network.architecture, after)), image, 1)
    np.testing.assert_allclose(seen.probabilities_after, again.probabilities)
    assert seen.cost_after == pytest.approx(again.cost)
    assert seen.cost_after < seen.cost


def test_input_gradients_equal_central_differences(model, image):
    seen = inspect(model, image, 0)
    number, neurons = len(seen.layers), np.array([3, 1])
    shown = input_gradients(seen, number, neurons)
    pixels = np.flatnonzero(image)[::9]
    for pixel in pixels:
        high, low = image.astype(np.float64), image.astype(np.float64)
        high[pixel], low[pixel] = high[pixel] + 1e-6, low[pixel] - 1e-6
        high, low = (inspect(model, x, 0).layers[-1].pre_activation for x in (high, low))
        np.testing.assert_allclose(shown[pixel], (high - low)[neurons] / 2e-6, atol=1e-6)


def test_a_model_without_training_settings_is_a_one_line_error(model, image):
    with refused(error=ModelError, match="model m does not contain its training settings"):
        inspect(replace(model, training={}), image, 0)


@pytest.mark.parametrize("large", [{"l2": 1e300}, {"lr": 1e300}])
def test_a_step_beyond_the_range_of_weights_is_a_one_line_error(model, image, large):
    settings = model.training["settings"] | large
    with refused(error=ModelError, match="too large to compute with"):
        inspect(replace(model, training={"settings": settings}), image, 2)


def test_inspection_changes_nothing(model, image):
    before = {name: p.copy() for name, p in model.network.parameters.items()}
    inspect(model, image, 0)
    for name, parameter in model.network.parameters.items():
        np.testing.assert_array_equal(parameter, before[name])
