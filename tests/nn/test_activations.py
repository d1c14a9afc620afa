import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.nn.activations import ACTIVATIONS, relu, sigmoid, softmax, tanh
from tests.nn.gradient_check import central_difference

rows = arrays(np.float64, (4, 5), elements=st.floats(-50, 50))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_backward_equals_a_central_difference(name):
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    activation = ACTIVATIONS[name]
    _, backward = activation(x)
    numeric = central_difference(lambda: float((activation(x)[0] * dy).sum()), x)
    np.testing.assert_allclose(backward(dy), numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_float32_stays_float32_both_ways(name):
    x = np.ones((2, 3), np.float32)
    y, backward = ACTIVATIONS[name](x)
    assert y.dtype == np.float32
    assert backward(x).dtype == np.float32


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_huge_inputs_give_finite_values_without_a_warning(name, scale):
    x = np.float32(scale) * np.array([[1, 0.5, 0, -1]], np.float32)
    y, backward = ACTIVATIONS[name](x)
    assert np.isfinite(y).all()
    assert np.isfinite(backward(np.ones_like(x))).all()


@given(rows)
def test_softmax_rows_sum_to_one_and_are_not_negative(x):
    y, _ = softmax(x)
    np.testing.assert_allclose(y.sum(axis=1), 1)
    assert (y >= 0).all()


@given(rows, st.floats(-100, 100))
def test_softmax_ignores_a_shift_of_its_inputs(x, shift):
    np.testing.assert_allclose(softmax(x + shift)[0], softmax(x)[0], atol=1e-12)


@given(rows)
def test_softmax_keeps_the_order_of_its_inputs(x):
    y, _ = softmax(x)
    assert (np.take_along_axis(y, x.argmax(axis=1)[:, None], 1)[:, 0] == y.max(axis=1)).all()


@given(rows)
def test_sigmoid_is_symmetric_about_one_half(x):
    np.testing.assert_allclose(sigmoid(-x)[0], 1 - sigmoid(x)[0], atol=1e-15)


@given(rows)
def test_sigmoid_is_the_logistic_function(x):
    np.testing.assert_allclose(sigmoid(x)[0], 1 / (1 + np.exp(-x)), rtol=1e-9, atol=1e-15)


@given(rows)
def test_tanh_is_a_scaled_sigmoid(x):
    np.testing.assert_allclose(tanh(x)[0], 2 * sigmoid(2 * x)[0] - 1, atol=1e-12)


@given(rows)
def test_relu_of_x_minus_relu_of_minus_x_is_x(x):
    np.testing.assert_array_equal(relu(x)[0] - relu(-x)[0], x)
