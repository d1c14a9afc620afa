"""`dvc repro`, killed in every stage, ends with the bytes of one that was not."""

import pytest

from tests.faults.kill import kill_many


@pytest.mark.slow
def test_a_run_killed_in_every_stage_ends_as_one_that_was_not_disturbed(tmp_path):
    tally = kill_many(tmp_path, kills=11, seed=1)
    assert tally.failures == []
    assert len(tally.stages) > 6
