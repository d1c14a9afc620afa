"""Two networks on the same test images, with McNemar's test."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipeline.comparison import compare_models, compare_predictions
from pipeline.figures.compared import compared_figures, pairs_figure
from pipeline.metrics import mcnemar_p
from tests.figures.rendered import check_rendered, render
from tests.refusal import refused
from tests.test_ensemble import FIRST, LABELS, SECOND, THIRD, _models, images_of  # noqa: F401


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_the_p_value_is_that_of_the_exact_binomial_test(only_one, only_other):
    expected = binomtest(only_one, only_one + only_other).pvalue if only_one + only_other else 1.0
    assert mcnemar_p(only_one, only_other) == pytest.approx(expected, abs=1e-9)


def test_images_are_counted_by_who_gets_them_right():
    one = np.array([True, True, False, False, True, False])
    other = np.array([True, False, True, False, False, False])
    found = compare_predictions(one, other)
    assert (found.images, found.both, found.neither) == (6, 1, 2)
    assert found.only_one.tolist() == [1, 4]
    assert found.only_other.tolist() == [2]
    assert found.p == 1.0


def test_models_are_compared_on_the_same_images(models):
    one, other, _ = models
    found, first, second = compare_models(one, other, images_of(FIRST, SECOND, THIRD))
    right = [each.argmax(axis=1) == LABELS for each in (first, second)]
    assert found.only_one.tolist() == np.flatnonzero(right[0] & ~right[1]).tolist()
    assert found.both == (right[0] & right[1]).sum()
    with refused(match="first knows the classes x, y, z"):
        compare_models(replace(one, class_names=("x", "y", "z")), other, images_of(FIRST, SECOND))
    with refused(match="model second was trained on other images"):
        compare_models(one, replace(other, training={}), images_of(FIRST, SECOND, THIRD))


def test_the_images_that_one_alone_gets_right_are_drawn_as_the_other_reads_them(models):
    one, other, _ = models
    test = images_of(FIRST, SECOND, THIRD)
    found, *probabilities = compare_models(one, other, test)
    figures = compared_figures((one, other), test, probabilities, found)
    assert set(figures) == {"only_first", "only_second"}
    (ax,) = figures["only_first"].axes
    assert len(ax.patches) == len(found.only_one)
    assert "that only first gets right" in figures["only_first"].get_suptitle()
    check_rendered("compared", {name: render(figure) for name, figure in figures.items()})


def test_pairs_are_lines_and_their_differences_points_around_the_mean():
    found = {
        "variants": ["a", "b"], "difference": 0.02, "low": 0.01, "high": 0.03, "seeds": 3,
        "pairs": {"0": [0.92, 0.9], "1": [0.93, 0.9], "2": [0.9, 0.9]},
    }  # fmt: skip
    figure = pairs_figure(found, "title")
    left, right = figure.axes
    ends = [list(line.get_ydata()) for line in left.get_lines()]
    assert ends == [[0.92, 0.9], [0.93, 0.9], [0.9, 0.9]]
    points = right.get_lines()[0].get_ydata()
    np.testing.assert_allclose(points, [2, 3, 0])
    assert right.get_ylabel() == "a minus b, percentage points"
    check_rendered("pairs", {"pairs": render(figure)})
