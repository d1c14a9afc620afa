import numpy as np
import pytest
from scipy.stats import kstest

from pipeline.nn.initializers import INITIALIZERS, standard_normal

N_IN, N_OUT = 500, 300
VARIANCES = {"he": 2 / N_IN, "glorot": 2 / (N_IN + N_OUT), "normal": 0.01**2}


@pytest.mark.parametrize("name", INITIALIZERS)
def test_weights_have_mean_zero_and_the_variance_of_their_formula(name):
    weights = INITIALIZERS[name](np.random.default_rng(0), N_IN, N_OUT)
    assert weights.shape == (N_IN, N_OUT)
    # 150,000 draws: the mean's standard error is 0.26 %, the variance's 0.37 % (normal).
    assert abs(weights.mean()) < 0.01 * np.sqrt(VARIANCES[name])
    assert weights.var() == pytest.approx(VARIANCES[name], rel=0.02)


@pytest.mark.parametrize("name", INITIALIZERS)
def test_the_same_seed_gives_the_same_weights(name):
    first, second = (INITIALIZERS[name](np.random.default_rng(7), 4, 3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("count", [1, 2, 7, 100_000])
def test_standard_normal_returns_the_requested_number_of_normal_numbers(count):
    drawn = standard_normal(np.random.default_rng(0), count)
    assert drawn.shape == (count,)
    assert kstest(drawn, "norm").pvalue > 0.01


def test_he_keeps_the_scale_of_activations_through_twenty_relu_layers():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 256))
    for _ in range(20):
        x = np.maximum(x @ INITIALIZERS["he"](rng, 256, 256), 0)
    assert 0.1 < (x**2).mean() < 10
