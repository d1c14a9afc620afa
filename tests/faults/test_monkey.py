"""Random user actions leave results true and files whole; what fails is noticed and shrunk."""

import pytest

from tests.faults.actions import INTERVAL, make_clone
from tests.faults.monkey import draw, faults, play
from tests.faults.shrink import shrink
from tests.faults.truth import Truth


def test_a_failing_sequence_is_shrunk_to_the_steps_that_fail_together():
    assert shrink(range(40), {3, 17}.issubset, tries=100) == [3, 17]


def test_shrinking_ends_after_so_many_tries():
    tried = []
    shortest = shrink(range(40), lambda steps: tried.append(steps) or {3, 17} <= {*steps}, tries=5)
    assert len(tried) == 5
    assert {3, 17} <= {*shortest} < {*range(40)}


def test_the_same_seed_draws_the_same_actions():
    assert draw(20, seed=1) == draw(30, seed=1)[:20] != draw(20, seed=2)


@pytest.mark.slow
def test_what_goes_wrong_in_a_clone_is_noticed(tmp_path):
    clone, truth = make_clone(tmp_path / "clone"), Truth(tmp_path)
    assert faults(clone, truth) == []
    (clone.folder / "metrics/.summary.json.1.tmp").touch()
    (clone.folder / "stages/report.py").rename(clone.folder / "stages/page.py")
    clone.note("dvc repro", "Error: one line\nand another\n")
    found = "\n".join(faults(clone, truth))
    assert "stages/report.py is lost" in found
    assert "metrics/.summary.json.1.tmp is left" in found
    assert "more than one line" in found
    (clone.folder / "stages/page.py").rename(clone.folder / "stages/report.py")
    (clone.folder / "metrics/.summary.json.1.tmp").unlink()
    code = clone.folder / "pipeline/metrics.py"
    code.write_text(code.read_text().replace(*INTERVAL))
    clone.run("dvc commit -f")  # old results of new code
    assert {"metrics/summary.json is stale", "report/index.html is stale"} <= {
        *faults(clone, truth)
    }


@pytest.mark.slow
def test_ten_random_actions_leave_results_true_and_files_whole(tmp_path):
    clone = make_clone(tmp_path / "clone")
    assert play(clone, draw(10, seed=3), Truth(tmp_path)) == (10, [])
