"""The results that a sweep and repeats report."""

import numpy as np
import pytest
from optuna.trial import create_trial
from scipy.stats import ttest_rel

from pipeline.base.errors import TrainingError
from pipeline.metrics import wilson_interval
from pipeline.tuning.plan import FoldPlan, RepeatPlan
from pipeline.tuning.repeats import fold_statistics, pair_statistics, repeat_statistics
from pipeline.tuning.results import (
    best_trial,
    importances,
    summary,
    trial_table,
    winning_command,
)
from pipeline.tuning.store import STATES
from tests.refusal import refused
from tests.tuning.conftest import SMALL, plan_of

PLAN = plan_of({"lr": {"low": 0.001, "high": 1.0}, "hidden": [[8], [16, 8]], "clip_norm": [None]})


def trial(number, accuracy, state="complete", lr=0.5, hidden="[8]", tried=PLAN.tried, **params):
    outcome = {
        "state": state, "accuracies": [accuracy] if accuracy is not None else [],
        "cost": None if state == "failed" else 0.5, "rungs": {},
        "reason": "the training cost is nan" if state == "failed" else None,
    }  # fmt: skip
    found = create_trial(
        state=STATES[state],
        value=None if state == "failed" else accuracy,
        params=params or {"lr": lr, "hidden": hidden, "clip_norm": None},
        distributions=tried,
        user_attrs={"outcome": outcome},
    )
    found.number = number
    return found


TRIALS = [
    trial(0, 0.8), trial(1, 0.9, lr=0.125, hidden="[16, 8]"), trial(2, 0.95, "pruned"),
    trial(3, 0.9, lr=0.75), trial(4, None, "failed"),
]  # fmt: skip


def test_the_best_trial_is_complete_with_the_highest_accuracy_and_the_first_of_a_tie():
    assert best_trial(TRIALS).number == 1
    assert best_trial(TRIALS[::-1]).number == 1


def test_the_line_of_a_trial_names_the_settings_that_differ():
    assert PLAN.label(TRIALS[1]) == "trial 1 (lr 0.125, hidden [16, 8])"


def test_the_summary_names_the_best_trials_settings_and_counts_all():
    assert summary(PLAN, TRIALS) == {
        "variant": "small",
        "best_trial": 1,
        "validation_accuracy": 0.9,
        "validation_cost": 0.5,
        "settings": {"lr": 0.125, "hidden": [16, 8], "clip_norm": None},
        "trials": {"complete": 3, "pruned": 1, "failed": 1},
    }


def test_the_winning_command_sets_everything_that_was_tried():
    assert winning_command(PLAN, TRIALS) == (
        "dvc exp run -S variants.small.lr=0.125 -S 'variants.small.hidden=[16,8]' "
        "-S +variants.small.clip_norm=null"
    )


def test_the_table_has_one_row_per_trial_with_its_settings_and_reason():
    table = trial_table(PLAN, TRIALS)
    assert list(table.columns) == [
        "trial", "state", "validation_accuracy", "validation_cost", "epochs_run",
        "settings.lr", "settings.hidden", "settings.clip_norm", "reason",
    ]  # fmt: skip
    assert table["trial"].tolist() == [0, 1, 2, 3, 4]
    assert table["state"].tolist() == ["complete", "complete", "pruned", "complete", "failed"]
    assert table["settings.clip_norm"].tolist() == ["null"] * 5
    assert table["reason"].iloc[4] == "the training cost is nan"


def test_if_no_trial_completes_the_error_has_the_first_reason():
    with refused(error=TrainingError, match=r"none of 2 trials .* first: the training cost is nan"):
        best_trial([trial(0, 0.5, "pruned"), trial(1, None, "failed")])


def test_importance_finds_the_setting_that_matters():
    rng = np.random.default_rng(0)
    trials = [
        trial(number, float(0.5 + lr / 3), lr=float(lr), hidden=str(rng.choice(["[8]", "[16, 8]"])))
        for number, lr in enumerate(rng.random(30))
    ]
    found = importances(trials)
    assert list(found) == ["lr", "hidden"]
    assert found["lr"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert importances(trials) == found


def test_the_importance_of_many_trials_comes_from_evenly_spaced_ones(monkeypatch):
    rng = np.random.default_rng(0)
    trials = [
        trial(number, float(lr), lr=float(lr), hidden=str(rng.choice(["[8]", "[16, 8]"])))
        for number, lr in enumerate(rng.uniform(0.001, 1, 41))
    ]
    expected = importances(trials[::2])
    monkeypatch.setattr("pipeline.tuning.results.IMPORTANCE_TRIALS", 21)
    assert importances(trials) == expected


@pytest.mark.parametrize("trials", [[], TRIALS[:1], [trial(0, 0.5), trial(1, 0.5)]])
def test_importance_is_empty_for_too_few_trials(trials):
    assert importances(trials) == {}


def repeated(accuracies):
    tried = RepeatPlan("small", SMALL, 3, len(accuracies), "cpu").tried
    return [
        trial(number, accuracy, "complete" if accuracy is not None else "failed", tried=tried,
              seed=3 + number)
        for number, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def test_repeats_give_the_mean_the_deviation_and_students_interval_by_hand():
    found = repeat_statistics(repeated([0.90, 0.92, 0.91, None, 0.93]))
    assert found["mean"] == pytest.approx(0.915)
    assert found["standard_deviation"] == pytest.approx(0.0129099, rel=1e-5)
    half = 3.182446 * 0.0129099 / 2  # t for 3 degrees of freedom at 97.5 %, from a table
    assert (found["low"], found["high"]) == pytest.approx((0.915 - half, 0.915 + half), rel=1e-5)
    assert (found["repeats"], found["failed"]) == (4, 1)
    assert found["validation_accuracy"] == {"3": 0.9, "4": 0.92, "5": 0.91, "7": 0.93}


def seeds_of(accuracies):
    plan = RepeatPlan("small", SMALL, 7, len(accuracies), "cpu")
    return [
        trial(n, value, "failed" if value is None else "complete", tried=plan.tried, seed=7 + n)
        for n, value in enumerate(accuracies)
    ]


def test_pairs_give_the_mean_difference_and_students_interval_by_hand():
    found = pair_statistics(
        ("a", "b"), seeds_of([0.8, 0.9, 0.85, None]), seeds_of([0.75, 0.88, 0.86, 0.9])
    )
    differences = np.array([0.05, 0.02, -0.01])
    assert found["difference"] == pytest.approx(0.02)
    half = 4.302652729749464 * differences.std(ddof=1) / 3**0.5
    assert (found["low"], found["high"]) == (pytest.approx(0.02 - half), pytest.approx(0.02 + half))
    assert (found["seeds"], found["first_better"], found["second_better"]) == (3, 2, 1)
    assert found["pairs"]["8"] == [0.9, 0.88]
    test = ttest_rel([0.8, 0.9, 0.85], [0.75, 0.88, 0.86]).confidence_interval(0.95)
    assert (found["low"], found["high"]) == (pytest.approx(test.low), pytest.approx(test.high))


def test_a_single_pair_is_not_enough():
    with refused(error=TrainingError, match="a and b both completed for 1 seeds; 2 or more"):
        pair_statistics(("a", "b"), seeds_of([0.8, None]), seeds_of([0.8, 0.9]))


def test_a_single_completed_repeat_is_not_enough():
    with refused(error=TrainingError, match="1 of 2 repeats failed; the first: the training cost"):
        repeat_statistics(repeated([0.9, None]))


def folded(accuracies, images):
    plan = FoldPlan("small", SMALL, 3, len(accuracies), images, "cpu")
    return plan, [
        trial(number, accuracy, "complete" if accuracy is not None else "failed", tried=plan.tried,
              fold=1 + number)
        for number, accuracy in enumerate(accuracies)
    ]  # fmt: skip


def test_folds_give_the_mean_the_deviation_and_the_share_of_all_images_by_hand():
    found = fold_statistics(*folded([3 / 4, 2 / 3, 1 / 3], images=10))
    assert found == {
        "mean": pytest.approx(7 / 12),
        "standard_deviation": pytest.approx(0.2204793, rel=1e-5),
        "folds": 3,
        "pooled": 0.6,  # 3 of 4, 2 of 3 and 1 of 3
        "pooled_low": wilson_interval(6, 10)[0],
        "pooled_high": wilson_interval(6, 10)[1],
        "images": 10,
        "validation_accuracy": {"1": 3 / 4, "2": 2 / 3, "3": 1 / 3},
    }


def test_a_fold_that_fails_leaves_no_result_for_all_images():
    with refused(error=TrainingError, match="1 of 3 folds failed; the first, fold 2: the training"):
        fold_statistics(*folded([0.9, None, 0.8], images=30))
