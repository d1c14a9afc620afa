"""What DVC recorded is read as it is: of the workspace, of commits and of experiments."""

import os

import numpy as np
import pytest

from pipeline.base.files import read_json
from pipeline.experiments.records import read_experiments
from tests.clone import VARIANTS, shell
from tests.refusal import refused


@pytest.mark.long
def test_the_workspace_and_the_commit_are_read_from_dvc_git_and_the_cache(clone):
    found, left_out = read_experiments(clone)
    assert left_out == []
    assert [(one.name, one.parent) for one in found] == [("workspace", None), (found[1].name, None)]
    summary = read_json(clone / "metrics/summary.json")
    for one in found:
        assert one.metrics == summary
        assert one.settings["epochs"] == 2
        assert sorted(one.predictions) == sorted(VARIANTS)
        for table in one.predictions.values():
            assert table["label"].dtype.kind == table["prediction"].dtype.kind == "U"
        assert set(np.unique(one.history["variant"])) == set(VARIANTS)
    assert found[0].created is None
    assert found[1].created is not None


def test_a_folder_without_dvc_is_an_error_of_one_line(tmp_path):
    with refused(match=r"^dvc exp show failed: [^\n]*not inside"):
        read_experiments(tmp_path)


def test_dvcs_error_is_shown_and_not_where_it_offers_help(tmp_path, monkeypatch):
    program = tmp_path / "dvc"
    said = "ERROR: it is read-only\\n\\nHaving troubles?\\n"
    program.write_text(f"#!/bin/sh\nprintf '{said}' >&2; exit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    with refused(match=r"^dvc exp show failed: it is read-only$"):
        read_experiments(tmp_path)


def test_a_missing_program_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with refused(match=r"^dvc is not installed, or not on PATH$"):
        read_experiments(tmp_path)


@pytest.mark.slow
def test_an_experiment_is_compared_with_its_commit(clone):
    variant = VARIANTS[0]
    shell(f"dvc exp run -q -n other -S variants.{variant}.lr=0.001 compare", clone)
    shell("git restore -SW . && dvc checkout -q", clone)
    found, _ = read_experiments(clone)
    assert [one.name for one in found][2:] == ["other"]
    assert found[2].parent == found[1].name
    assert found[2].settings[f"variants.{variant}.lr"] == 0.001
    assert found[2].metrics[variant] != found[1].metrics[variant]
    assert shell("python -m pipeline experiments", clone) is not None
    assert "other" in (clone / "experiments.html").read_text()
