"""Sweeps and repeats log a run per trial to the tracker of `tracking`, grouped by study."""

import json
from importlib.util import find_spec

import pytest
from click.testing import CliRunner

from pipeline.base.params import VariantSettings
from pipeline.tracking.trials import TrackedTrials
from pipeline.tuning.folds import Fold
from pipeline.tuning.trial import Job, Outcome
from tests.tracking.small import change, make_small

SETTINGS = VariantSettings(hidden=[4], lr=0.1, batch_size=20, epochs=3)
OUTCOMES = {
    "complete": Outcome("complete", [0.5, 0.7, 0.6], 0.9, 2),
    "pruned": Outcome("pruned", [0.2], 2.0, 1),
    "failed": Outcome("failed", [0.3], reason="diverged"),
}


def tracked(tracker="mlflow", warn=pytest.fail):
    return TrackedTrials(tracker, "sweep tiny broad mnist-5k", "tiny", "mnist-5k", warn)


@pytest.mark.parametrize(
    ("state", "status", "metrics"),
    [
        ("complete", "finished", {"validation_accuracy": 0.7, "validation_cost": 0.9}),
        ("pruned", "killed", {"validation_accuracy": 0.2, "validation_cost": 2.0}),
        ("failed", "failed", None),
    ],
)
def test_a_trial_is_a_run_with_its_settings_epochs_result_and_status(
    recorder, state, status, metrics
):
    tracked().add("trial 7", Job(SETTINGS, 5, "cpu", fold=Fold(2, 3, 5)), OUTCOMES[state])
    (_, description, earlier), *calls = recorder.calls
    assert earlier is None
    assert description.name == "sweep tiny broad mnist-5k, trial 7"
    assert (description.study, description.trial) == ("sweep tiny broad mnist-5k", "trial 7")
    assert description.settings == {
        "variant": "tiny", **SETTINGS.model_dump(), "seed": 5, "dataset": "mnist-5k", "fold": 2,
    }  # fmt: skip
    epochs = list(range(1, len(OUTCOMES[state].accuracies) + 1))
    expected = [("log", epochs), ("metrics", metrics), ("end", status)]
    assert calls == [call for call in expected if call[1] is not None]


@pytest.mark.parametrize("broken", ["start", "log", "metrics", "end"])
def test_a_tracker_that_fails_is_one_warning_and_not_asked_again(recorder, broken):
    recorder.broken = {broken}
    told = []
    trials = tracked(warn=told.append)
    for number in range(3):
        trials.add(f"trial {number}", Job(SETTINGS, 5, "cpu"), OUTCOMES["complete"])
    assert told == ["tiny continues without mlflow, which failed: no answer today"]
    assert [event for event, *_ in recorder.calls].count("start") == 1


def test_without_a_tracker_nothing_is_logged(recorder):
    tracked("none").add("trial 0", Job(SETTINGS, 5, "cpu"), OUTCOMES["complete"])
    assert recorder.calls == []


@pytest.mark.long
@pytest.mark.skipif(not find_spec("optuna"), reason="needs the extra sweep")
def test_a_repeat_logs_each_seed_once_and_gives_the_same_result(
    recorder, project, few_digits, monkeypatch
):
    from stages.repeat import main

    make_small(project, few_digits)
    monkeypatch.chdir(project)
    found = {}
    for tracking, seeds in (("none", 2), ("mlflow", 3)):
        change(project, tracking=tracking)
        ran = CliRunner().invoke(main, ["tiny", "--seeds", str(seeds), "--workers", "1"])
        assert ran.exit_code == 0, ran.output
        found[tracking] = json.loads((project / "metrics/repeat/tiny.json").read_text())
        if tracking == "none":
            assert recorder.calls == []
    (start,) = [call for call in recorder.calls if call[0] == "start"]  # two had ended before
    assert start[1].name == "repeat tiny mnist-5k, seed 2"
    assert start[1].settings["seed"] == 2
    (metrics,) = [call[1] for call in recorder.calls if call[0] == "metrics"]
    accuracies = found["mlflow"]["validation_accuracy"]
    assert metrics["validation_accuracy"] == accuracies["2"]
    assert found["none"]["validation_accuracy"].items() <= accuracies.items()
    assert ("log", [1, 2, 3]) in recorder.calls
