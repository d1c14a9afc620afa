"""Optimisers and gradient clipping, compared with steps worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.base.params import VariantSettings
from pipeline.nn.gradients import clip, clip_by_norm, clip_by_value
from pipeline.nn.optimizers import SGD, Adam, make_optimizer

gradients = st.fixed_dictionaries(
    {
        "layer1.weight": arrays(np.float64, (2, 3), elements=st.floats(-1e3, 1e3)),
        "layer1.bias": arrays(np.float64, 3, elements=st.floats(-1e3, 1e3)),
    }
)


def steps(optimizer, gradient, count, name="layer1.weight", start=1.0):
    parameters = {name: np.array([start])}
    values = []
    for _ in range(count):
        optimizer.step(parameters, {name: np.array([gradient])})
        values.append(parameters[name][0])
    return values


def test_sgd_moves_against_the_gradient_by_the_learning_rate():
    assert steps(SGD(lr=0.1), 2.0, 3) == pytest.approx([0.8, 0.6, 0.4])


def test_momentum_accumulates():
    # v: 2, 2 + 0.5 * 2 = 3, 2 + 0.5 * 3 = 3.5
    assert steps(SGD(lr=0.1, momentum=0.5), 2.0, 3) == pytest.approx([0.8, 0.5, 0.15])


def test_l2_pulls_weights_towards_zero():
    # w - 0.1 * 0.5 * w = 0.95 w
    assert steps(SGD(lr=0.1, l2=0.5), 0.0, 2) == pytest.approx([0.95, 0.9025])


def test_l2_leaves_biases_alone():
    assert steps(SGD(lr=0.1, l2=0.5), 0.0, 2, name="layer1.bias") == [1.0, 1.0]


@pytest.mark.parametrize("gradient", [2.0, -300.0, 1e-4])
def test_the_first_steps_of_adam_are_the_learning_rate_whatever_the_size_of_a_steady_gradient(
    gradient,
):
    moved = [1 - value for value in steps(Adam(lr=0.1), gradient, 3)]
    assert moved == pytest.approx(np.sign(gradient) * np.array([0.1, 0.2, 0.3]), rel=1e-3)


def test_adam_by_hand_with_a_changing_gradient():
    adam = Adam(lr=0.1)
    parameters = {"layer1.weight": np.array([1.0])}
    for gradient in (1.0, -2.0):
        adam.step(parameters, {"layer1.weight": np.array([gradient])})
    mean = (0.9 * 0.1 - 0.1 * 2) / (1 - 0.9**2)
    square = (0.999 * 0.001 + 0.001 * 4) / (1 - 0.999**2)
    expected = 1 - 0.1 - 0.1 * mean / np.sqrt(square)
    assert parameters["layer1.weight"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("make", [lambda: SGD(0.1, 0.9, 1e-4), lambda: Adam(0.1, 1e-4)])
def test_steps_change_float32_parameters_in_place(make):
    weight = np.ones((2, 2), np.float32)
    parameters = {"layer1.weight": weight}
    optimizer = make()
    for _ in range(2):
        optimizer.step(parameters, {"layer1.weight": np.ones((2, 2), np.float32)})
    assert parameters["layer1.weight"] is weight
    assert weight.dtype == np.float32
    assert (weight < 1).all()


def test_a_step_does_not_change_its_gradients():
    gradient = np.ones((2, 2))
    optimizer = SGD(0.1, momentum=0.9)
    for _ in range(3):
        optimizer.step({"layer1.weight": np.ones((2, 2))}, {"layer1.weight": gradient})
    assert (gradient == 1).all()


@pytest.mark.parametrize(
    ("kind", "settings", "ours"),
    [
        ("SGD", {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}, SGD(0.05, 0.9, 0.01)),
        (
            "SGD",
            {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01},
            SGD(0.05, 0.9, 0.01, nesterov=True),
        ),
        ("Adam", {"lr": 0.05, "weight_decay": 0.01}, Adam(0.05, 0.01)),
        ("AdamW", {"lr": 0.05, "weight_decay": 0.1}, Adam(0.05, decay=0.1)),
        ("AdamW", {"lr": 0.05, "betas": (0.8, 0.95)}, Adam(0.05, beta1=0.8, beta2=0.95)),
    ],
    ids=["sgd", "nesterov", "adam", "adamw", "betas"],
)
def test_ten_steps_equal_those_of_pytorch(kind, settings, ours):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    rng = np.random.default_rng(0)
    start, drawn = rng.normal(size=5), rng.normal(size=(10, 5))
    tensor = torch.tensor(start, requires_grad=True)
    settings = {"weight_decay": 0.0} | settings
    theirs = getattr(torch.optim, kind)([tensor], **settings)
    parameters = {"layer1.weight": start.copy()}
    for gradient in drawn:
        tensor.grad = torch.tensor(gradient)
        theirs.step()
        ours.step(parameters, {"layer1.weight": gradient})
    np.testing.assert_allclose(parameters["layer1.weight"], tensor.detach().numpy(), rtol=1e-6)


@given(gradients, st.floats(0.01, 10))
def test_clipping_by_value_limits_each_element_and_keeps_smaller_ones(drawn, limit):
    for name, clipped in clip_by_value(drawn, limit).items():
        assert (np.abs(clipped) <= limit).all()
        small = np.abs(drawn[name]) <= limit
        np.testing.assert_array_equal(clipped[small], drawn[name][small])


@given(gradients, st.floats(0.01, 10))
def test_clipping_by_norm_limits_the_joint_norm_and_keeps_the_direction(drawn, limit):
    clipped = clip_by_norm(drawn, limit)
    before = np.concatenate([gradient.ravel() for gradient in drawn.values()])
    after = np.concatenate([gradient.ravel() for gradient in clipped.values()])
    assert np.linalg.norm(after) <= limit * (1 + 1e-9)
    if np.linalg.norm(before) <= limit:
        np.testing.assert_array_equal(after, before)
    else:
        factor = limit / np.linalg.norm(before)
        np.testing.assert_allclose(after, before * factor, rtol=1e-9)


def settings_of(**changes):
    return VariantSettings(hidden=[3], lr=0.1, batch_size=1, epochs=1, **changes)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, [3, 4]),
        ({"clip_value": 3}, [3, 3]),
        ({"clip_norm": 1}, [0.6, 0.8]),
        ({"clip_value": 3, "clip_norm": 18**0.5 / 2}, [1.5, 1.5]),
    ],
    ids=str,
)
def test_gradients_are_clipped_as_the_settings_require_by_value_first(limits, expected):
    clipped = clip({"layer1.bias": np.array([3.0, 4.0])}, settings_of(**limits))
    np.testing.assert_allclose(clipped["layer1.bias"], expected, rtol=1e-12)


def test_the_settings_select_the_optimiser():
    sgd = make_optimizer(settings_of(momentum=0.5, l2=0.25))
    assert (type(sgd), sgd.lr, sgd.momentum, sgd.l2) == (SGD, 0.1, 0.5, 0.25)
    assert make_optimizer(settings_of(momentum=0.5, nesterov=True)).nesterov
    adam = make_optimizer(settings_of(optimizer="adam", l2=0.25, beta1=0.8, beta2=0.9))
    assert (type(adam), adam.lr, adam.l2, adam.decay) == (Adam, 0.1, 0.25, 0.0)
    assert (adam.beta1, adam.beta2) == (0.8, 0.9)
    assert make_optimizer(settings_of(optimizer="adamw", weight_decay=0.5)).decay == 0.5
