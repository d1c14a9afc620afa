import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.nn.losses import LOSSES, cross_entropy, mean_squared_error, one_hot
from tests.nn.gradient_check import central_difference

outputs = arrays(np.float64, (4, 5), elements=st.floats(-30, 30))
targets = arrays(np.int64, 4, elements=st.integers(0, 4)).map(lambda labels: np.eye(5)[labels])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_target_is_one_at_the_true_class_and_zero_elsewhere(dtype):
    made = one_hot(np.array([2, 0], np.uint8), 3, np.dtype(dtype))
    assert made.dtype == dtype
    assert made.tolist() == [[0, 0, 1], [1, 0, 0]]


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_equals_a_central_difference(name):
    rng = np.random.default_rng(1)
    z, y = rng.normal(size=(3, 4)), np.eye(4)[[0, 3, 1]]
    _, gradient = LOSSES[name](z, y)
    numeric = central_difference(lambda: float(LOSSES[name](z, y)[0].sum()), z)
    np.testing.assert_allclose(gradient, numeric, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_float32_stays_float32(name):
    costs, gradient = LOSSES[name](np.ones((2, 3), np.float32), np.eye(3, dtype=np.float32)[[0, 2]])
    assert costs.dtype == np.float32
    assert gradient.dtype == np.float32


def test_cross_entropy_of_even_logits_is_the_logarithm_of_the_number_of_classes():
    costs, _ = cross_entropy(np.zeros((3, 10)), np.eye(10)[[0, 5, 9]])
    np.testing.assert_allclose(costs, np.log(10))


def test_cross_entropy_by_hand():
    # softmax([ln 1, ln 2, ln 5]) = [1/8, 2/8, 5/8]
    costs, gradient = cross_entropy(np.log([[1.0, 2.0, 5.0]]), np.eye(3)[[1]])
    np.testing.assert_allclose(costs, [np.log(4)])
    np.testing.assert_allclose(gradient, [[0.125, -0.75, 0.625]])


def test_mean_squared_error_by_hand():
    costs, gradient = mean_squared_error(np.array([[0.5, 0.0, 1.0]]), np.eye(3)[[2]])
    np.testing.assert_allclose(costs, [0.25 / 3])
    np.testing.assert_allclose(gradient, [[1 / 3, 0, 0]])


@given(outputs, targets, st.floats(-100, 100))
def test_cross_entropy_ignores_a_shift_of_the_logits(z, y, shift):
    np.testing.assert_allclose(cross_entropy(z + shift, y)[0], cross_entropy(z, y)[0], atol=1e-9)


@given(outputs, targets)
def test_losses_are_never_negative(z, y):
    for loss in LOSSES.values():
        assert (loss(z, y)[0] >= 0).all()


@given(outputs, targets)
def test_the_gradient_of_cross_entropy_sums_to_zero_over_the_classes(z, y):
    np.testing.assert_allclose(cross_entropy(z, y)[1].sum(axis=1), 0, atol=1e-12)


@given(outputs, targets)
def test_the_costs_of_a_batch_are_those_of_its_images_alone(z, y):
    for loss in LOSSES.values():
        alone = np.concatenate([loss(z[i : i + 1], y[i : i + 1])[0] for i in range(len(y))])
        np.testing.assert_allclose(loss(z, y)[0], alone)


@given(targets)
def test_mean_squared_error_is_zero_only_for_one_hot_outputs(y):
    costs, gradient = mean_squared_error(y, y)
    assert (costs == 0).all()
    assert (gradient == 0).all()


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_logits_of_ten_thousand_cost_a_finite_amount_without_a_warning(scale):
    logits = np.float32(scale) * np.eye(4, dtype=np.float32)
    costs, gradient = cross_entropy(logits, np.eye(4, dtype=np.float32))
    assert np.isfinite(costs).all()
    assert np.isfinite(gradient).all()
