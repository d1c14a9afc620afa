"""A machine that could give other results is distinguished from one that cannot."""

from dataclasses import replace

import pytest

from pipeline.tuning.fingerprint import CODE, own_fingerprint
from tests.test_structure import reachable


def test_the_fingerprint_covers_all_code_that_chooses_and_runs_trials():
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
def test_a_different_machine_is_rejected_with_the_reason(changed, reason):
    own = own_fingerprint()
    assert own.refusal(replace(own, **{changed: "other"})).startswith(reason)
