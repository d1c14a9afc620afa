"""Two at once in one folder: both end right, or one says that it must wait; nothing is spoilt."""

import re
import time

import pytest

from tests.faults.kill import Repro
from tests.faults.project import content, differences, make_project, shell

pytestmark = pytest.mark.slow

WAIT = r"^ERROR: (.*is busy, it is being blocked by:|.*Unable to acquire lock\.)"
"""What DVC says where it must wait for another one. It names that one in the next line."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    folder = make_project(tmp_path_factory.mktemp("undisturbed") / "project")
    shell("dvc repro", folder)
    return content(folder)


@pytest.mark.parametrize("stage", ["download", "train@tiny", "compare"])
def test_a_second_run_beside_the_first_ends_well_or_says_that_it_must_wait(
    stage, undisturbed, tmp_path
):
    folder = make_project(tmp_path / "project", undisturbed["dvc.lock"])
    first = Repro(folder)
    assert first.reach(stage), first.said
    second = Repro(folder)
    codes = [run.end() for run in (first, second)]
    for run, code in zip((first, second), codes, strict=True):
        assert code == 0 or len(re.findall(WAIT, run.said, re.M)) == 1, run.said
        assert "Traceback" not in run.said
    assert 0 in codes, first.said + second.said
    shell("dvc repro", folder)
    assert differences(undisturbed, content(folder)) == []


def test_a_queue_works_beside_a_run(undisturbed, tmp_path):
    folder = make_project(tmp_path / "project", undisturbed["dvc.lock"])
    first = Repro(folder)
    assert first.reach("train@tiny"), first.said
    queued = shell("dvc exp run --queue -S variants.tiny.lr=0.3", folder, check=False)
    if queued.returncode:
        assert len(re.findall(WAIT, queued.stderr, re.M)) == 1, queued.stderr
        assert first.end() == 0, first.said
        shell("dvc exp run --queue -S variants.tiny.lr=0.3", folder)
    shell("dvc queue start -j 1", folder)
    assert first.end() == 0, first.said
    until = time.monotonic() + 900
    while "Success" not in (told := shell("dvc queue status", folder).stdout):
        assert "Failed" not in told, shell("dvc queue logs --all", folder, check=False).stdout
        assert time.monotonic() < until, told
        time.sleep(2)
    shell("dvc queue stop --kill", folder, check=False)
    shell("dvc repro", folder)
    assert differences(undisturbed, content(folder)) == []
    shown = shell("dvc exp show --csv --drop '.*' --keep 'Experiment|variants.tiny.lr'", folder)
    assert "0.3" in shown.stdout
