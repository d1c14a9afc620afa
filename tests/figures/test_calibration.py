"""The numbers in the figure of calibration, worked out by hand."""

import numpy as np
import pytest

from pipeline.figures.quality import calibration_figure
from pipeline.metrics import wilson_interval


@pytest.fixture
def axes():
    confidence = np.array([0.95, 0.91, 0.55, 0.55, 1.0])
    right = np.array([True, False, True, False, True])
    return calibration_figure(confidence, right, "confidence of the prediction", "net").axes


def test_the_error_is_the_mean_gap_between_confidence_and_accuracy_over_all_images(axes):
    # Two images in one bin: |0.55 - 1/2|; three in another: |0.9533 - 2/3|.
    error = (2 * 0.05 + 3 * (2.86 / 3 - 2 / 3)) / 5
    assert f"expected calibration error {error:.1%}" in axes[0].get_title(loc="left")


def test_the_diagonal_and_the_network_are_told_apart_within_the_limits(axes):
    (straight,) = axes[0].get_lines()
    intervals, points = axes[0].collections
    names = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert names == [part.get_label() for part in (straight, intervals, points)]
    np.testing.assert_allclose(straight.get_xydata(), [[0, 0], [1, 1]])
    np.testing.assert_allclose(points.get_offsets(), [[0.55, 0.5], [2.86 / 3, 2 / 3]])
    for (x, hits, count), line in zip(
        [(0.55, 1, 2), (2.86 / 3, 2, 3)], intervals.get_segments(), strict=True
    ):
        np.testing.assert_allclose(line[:, 0], x)
        np.testing.assert_allclose(line[:, 1], wilson_interval(hits, count))
    for low, high in (axes[0].get_xlim(), axes[0].get_ylim()):
        assert low == 0
        assert 1 < high < 1.1


def test_images_are_counted_in_ten_bins_with_labels(axes):
    counts = [int(bar.get_height()) for bar in axes[1].patches]
    assert counts == [0, 0, 0, 0, 0, 2, 0, 0, 0, 3]
    assert axes[0].get_ylabel() == "accuracy"
    assert (axes[1].get_xlabel(), axes[1].get_ylabel()) == (
        "confidence of the prediction",
        "images",
    )
