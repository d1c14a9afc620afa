"""The trials of one plan on disk, in Optuna's journal, so that finished trials are never lost.

Every step is one line, written to disk before the next step: a trial is added with its parameters,
its outcome is recorded, it is marked as finished. A trial that was added but not finished is run
again. The folder is named by a digest of everything that determines the trials and their results:
other settings, data, code or libraries have another folder.
"""

import contextlib
import fcntl
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.base.errors import DataError, PipelineError
from pipeline.base.files import write_json
from pipeline.tuning.study import NAME, begun
from pipeline.tuning.trial import Outcome

JOURNAL = "trials.journal"
STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class TrialStore:
    """The trials in `trials`, by number. Finished ones hold their epochs as intermediate values."""

    def __init__(self, storage: JournalStorage, study: int) -> None:
        self._storage = storage
        self._study = study
        self.trials = [_with_outcome(trial) for trial in storage.get_all_trials(study)]

    def add(self, params: dict[str, Any], tried: dict[str, BaseDistribution]) -> None:
        """Add a trial before it runs."""
        with _writing():
            identity = self._storage.create_new_trial(self._study, begun(params, tried))
        self.trials.append(self._storage.get_trial(identity))

    def finish(self, number: int, outcome: Outcome) -> FrozenTrial:
        """Store the outcome of a trial. Return the finished trial."""
        identity = self._storage.get_trial_id_from_study_id_trial_number(self._study, number)
        value = [outcome.accuracy] if outcome.state != "failed" else None
        with _writing():
            self._storage.set_trial_user_attr(identity, "outcome", asdict(outcome))
            self._storage.set_trial_state_values(identity, STATES[outcome.state], value)
        self.trials[number] = _with_outcome(self._storage.get_trial(identity))
        return self.trials[number]


def outcome_of(trial: FrozenTrial) -> Outcome:
    """Return the outcome of a finished trial."""
    return Outcome(**trial.user_attrs["outcome"])


@contextmanager
def open_store(root: Path, description: dict[str, Any]) -> Iterator[TrialStore]:
    """Open the trials that match `description`, in a folder of `root` named by its digest.

    Raises PipelineError, with a one-line message, if another process uses the folder or it cannot
    be written, and DataError if the journal is damaged.
    """
    folder = root / digest_of(description)
    journal = folder / JOURNAL
    with contextlib.ExitStack() as stack:
        with _writing():
            folder.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context(open(folder / "lock", "w", encoding="utf-8"))
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise PipelineError(
                    f"{folder} is in use: its trials are already running"
                ) from error
            write_json(folder / "description.json", description)
            _repair(journal)
            try:
                storage = JournalStorage(JournalFileBackend(str(journal)))
            except (ValueError, KeyError) as error:
                raise DataError(
                    f"{journal} is damaged; remove {folder} to start over: {error}"
                ) from error
        yield TrialStore(storage, _study(storage))


def digest_of(description: dict[str, Any]) -> str:
    """Return a short digest of a description."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _study(storage: JournalStorage) -> int:
    for study in storage.get_all_studies():
        return study._study_id
    with _writing():
        return storage.create_new_study([StudyDirection.MAXIMIZE], NAME)


def _with_outcome(trial: FrozenTrial) -> FrozenTrial:
    """Add epochs and rungs to a finished trial. The journal stores them as one attribute."""
    if trial.state.is_finished():
        outcome = outcome_of(trial)
        trial.intermediate_values = dict(enumerate(outcome.accuracies, start=1))
        trial.system_attrs = trial.system_attrs | outcome.rungs
    return trial


def _repair(journal: Path) -> None:
    """Remove what a killed process may leave behind: a lock, and half a last line."""
    journal.with_name(JOURNAL + ".lock").unlink(missing_ok=True)
    if journal.exists():
        with open(journal, "rb+") as file:
            file.truncate(file.read().rfind(b"\n") + 1)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or "the journal of trials"
        raise PipelineError(f"{where} cannot be written: {error.strerror or error}") from error
