"""Stored trials survive kills and power failures and are never mixed with other settings."""

import subprocess
import sys

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from pipeline.base.errors import PipelineError
from pipeline.tuning.store import JOURNAL, _writing, digest_of, open_store, outcome_of
from pipeline.tuning.trial import Outcome
from tests.conftest import ROOT
from tests.refusal import refused

TRIED = {"lr": FloatDistribution(0, 1)}
SETTINGS = {"seed": 0, "settings": {"lr": [0.1]}}
ENDED = Outcome("complete", [0.1, 0.9], 0.5)


def journal_of(root):
    return root / digest_of(SETTINGS) / JOURNAL


def test_finished_trials_are_restored_and_unfinished_ones_have_no_result(tmp_path):
    outcomes = [
        ENDED,
        Outcome("pruned", [0.3], 0.7, rungs={"completed_rung_0": 0.3}),
        Outcome("failed", [0.2], reason="the cost is nan"),
    ]
    with open_store(tmp_path, SETTINGS) as store:
        for number in range(4):
            store.add({"lr": number / 10}, TRIED)
        for number, outcome in reversed(list(enumerate(outcomes))):
            store.finish(number, outcome)
        before = store.trials
    with open_store(tmp_path, SETTINGS) as store:
        assert store.trials == before
        assert [outcome_of(trial) for trial in store.trials[:3]] == outcomes
        assert [trial.value for trial in store.trials] == [0.9, 0.3, None, None]
        assert store.trials[0].intermediate_values == {1: 0.1, 2: 0.9}
        assert store.trials[1].system_attrs["completed_rung_0"] == 0.3
        assert store.trials[3].state == TrialState.RUNNING
        assert store.trials[3].params == {"lr": 0.3}


def test_other_settings_do_not_see_the_trials(tmp_path):
    with open_store(tmp_path, SETTINGS) as store:
        store.add({"lr": 0.1}, TRIED)
    with open_store(tmp_path, SETTINGS | {"seed": 1}) as store:
        assert store.trials == []
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("lost", range(1, 200, 33))
def test_an_incomplete_last_line_is_dropped_and_its_trial_is_run_again(tmp_path, lost):
    with open_store(tmp_path, SETTINGS) as store:
        store.add({"lr": 0.1}, TRIED)
        store.finish(0, ENDED)
        store.add({"lr": 0.2}, TRIED)
        store.finish(1, ENDED)
    journal = journal_of(tmp_path)
    journal.write_bytes(journal.read_bytes()[:-lost])
    with open_store(tmp_path, SETTINGS) as store:
        assert store.trials[0].state == TrialState.COMPLETE
        assert store.trials[1].state == TrialState.RUNNING
        store.finish(1, ENDED)
    with open_store(tmp_path, SETTINGS) as store:
        assert [trial.state for trial in store.trials] == [TrialState.COMPLETE] * 2


def test_the_lock_of_a_killed_process_does_not_block_the_next(tmp_path):
    with open_store(tmp_path, SETTINGS) as store:
        store.add({"lr": 0.1}, TRIED)
    lock = journal_of(tmp_path).with_name(f"{JOURNAL}.lock")
    lock.symlink_to("gone")
    with open_store(tmp_path, SETTINGS) as store:
        store.finish(0, ENDED)
    assert not lock.is_symlink()


def test_two_processes_cannot_run_the_same_trials(tmp_path):
    program = f"""
from pathlib import Path
from pipeline.tuning.store import open_store
with open_store(Path({str(tmp_path)!r}), {SETTINGS!r}):
    print("opened", flush=True)
    input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as other:  # fmt: skip
        assert other.stdout.readline() == "opened\n"
        with (
            refused(error=PipelineError, match="is in use: its trials are already running"),
            open_store(tmp_path, SETTINGS),
        ):
            pass
        other.kill()
    with open_store(tmp_path, SETTINGS) as store:
        assert store.trials == []


def test_a_damaged_journal_is_a_one_line_error_that_says_what_to_remove(tmp_path):
    with open_store(tmp_path, SETTINGS) as store:
        store.add({"lr": 0.1}, TRIED)
    journal = journal_of(tmp_path)
    journal.write_text("no json\n" + journal.read_text())
    with (
        refused(match=r"journal is damaged; remove .* to start over"),
        open_store(tmp_path, SETTINGS),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_a_one_line_error(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        refused(error=PipelineError, match="cannot be written: Not a directory"),
        open_store(tmp_path / "file" / "store", SETTINGS),
    ):
        pass


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left", "a/b"), "a/b cannot be written: No space left"),
        (OSError(28, "No space left"), "the journal of trials cannot be written: No space left"),
        (OSError("lost"), "the journal of trials cannot be written: lost"),
    ],
)
def test_a_journal_that_cannot_be_written_is_one_line_whatever_the_system_says(error, line):
    with pytest.raises(PipelineError) as caught, _writing():
        raise error
    assert str(caught.value) == line
