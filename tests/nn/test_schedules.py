"""The learning rate of each step."""

import math

import numpy as np
import pytest

from pipeline.base.params import VariantSettings
from pipeline.nn.schedules import rate, rates

STEPS = 100


def settings_of(**changes):
    return VariantSettings(hidden=[], lr=0.5, batch_size=1, epochs=1, **changes)


def all_rates(**changes):
    return rates(settings_of(**changes), 0, STEPS, STEPS).tolist()


def test_a_constant_rate_is_lr_in_every_step():
    assert all_rates() == [0.5] * STEPS


def test_a_linear_schedule_falls_in_equal_steps_towards_0():
    found = all_rates(schedule="linear")
    assert found[0] == 0.5
    np.testing.assert_allclose(np.diff(found), -0.5 / STEPS)
    assert found[-1] == pytest.approx(0.5 / STEPS)


def test_a_cosine_schedule_is_half_a_cosine():
    found = all_rates(schedule="cosine")
    expected = [0.25 * (1 + math.cos(math.pi * step / STEPS)) for step in range(STEPS)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_steps_multiply_the_rate_at_each_drop():
    found = all_rates(schedule="steps", drops=[0.5, 0.75], drop=0.2)
    assert found == pytest.approx([0.5] * 50 + [0.1] * 25 + [0.02] * 25)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine", "steps"])
def test_a_warm_up_rises_from_0_to_lr_before_any_schedule(schedule):
    found = all_rates(schedule=schedule, warmup=0.2)
    np.testing.assert_allclose(found[:20], 0.5 * np.arange(1, 21) / 20)
    assert max(found) == 0.5
    assert found[20] <= found[19]


def test_a_warm_up_of_less_than_a_step_changes_nothing():
    assert all_rates(warmup=0.005) == all_rates()


def test_a_run_in_parts_has_the_rates_of_a_whole_run():
    settings = settings_of(schedule="cosine", warmup=0.1)
    parts = [rates(settings, first, 25, STEPS) for first in range(0, STEPS, 25)]
    np.testing.assert_array_equal(np.concatenate(parts), rates(settings, 0, STEPS, STEPS))
    assert parts[1][3] == rate(settings, 28, STEPS)
