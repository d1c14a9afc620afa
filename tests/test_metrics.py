import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from pipeline.metrics import confusion_counts, f1_scores, precision_recall, wilson_interval

CLASSES = 4
pairs = st.lists(
    st.tuples(st.integers(0, CLASSES - 1), st.integers(0, CLASSES - 1)), min_size=1, max_size=60
)


@example((0, 10))
@example((1, 10))
@example((9, 10))
@example((10, 10))
@given(st.integers(1, 70_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_equals_that_of_scipy(case):
    interval = binomtest(*case).proportion_ci(0.95, method="wilson")
    low, high = wilson_interval(*case)
    assert (low, high) == pytest.approx((interval.low, interval.high), abs=1e-12)
    assert (low == 0, high == 1) == (case[0] == 0, case[0] == case[1])


@given(pairs)
def test_counts_precision_recall_and_f1_equal_those_of_scikit_learn(rows):
    labels, predicted = np.array(rows, dtype=np.uint8).T
    counts = confusion_counts(labels, predicted, CLASSES)
    every = np.arange(CLASSES)
    assert (counts == confusion_matrix(labels, predicted, labels=every)).all()
    precision, recall = precision_recall(counts)
    expected = precision_recall_fscore_support(labels, predicted, labels=every, zero_division=0)
    np.testing.assert_allclose(precision, expected[0], atol=1e-15)
    np.testing.assert_allclose(recall, expected[1], atol=1e-15)
    np.testing.assert_allclose(f1_scores(precision, recall), expected[2], atol=1e-15)
