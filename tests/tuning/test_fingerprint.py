"""A machine that would give other results is told from one that gives the same."""

from dataclasses import replace

import pytest

from pipeline.tuning.fingerprint import CODE, own_fingerprint
from tests.test_structure import reachable


def test_the_code_that_counts_is_all_that_chooses_and_runs_trials():
    module = "pipeline/tuning/"
    needed = reachable(f"{module}worker.py") | reachable(f"{module}plan.py") | {f"{module}plan.py"}
    needed |= {f"{module}worker.py"}
    for path in needed - {"pipeline/nn/__init__.py"}:
        inside = path.removeprefix("pipeline/")
        assert any(inside == part or inside.startswith(f"{part}/") for part in CODE), path
    for part in CODE:
        assert any(path.removeprefix("pipeline/").startswith(part) for path in needed), part


def test_the_same_machine_is_accepted():
    assert own_fingerprint().refusal(own_fingerprint()) is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ("numpy", "has numpy other, not "),
        ("optuna", "has optuna other, not "),
        ("code", "has another version of this project's code"),
    ],
)
def test_another_machine_is_refused_with_the_reason(changed, reason):
    own = own_fingerprint()
    assert own.refusal(replace(own, **{changed: "other"})).startswith(reason)
