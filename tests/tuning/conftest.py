"""Fixtures for sweeps: splits of real digits, and small search spaces."""

import numpy as np
import pytest

from pipeline.base.params import SpaceSettings, VariantSettings
from pipeline.tuning.plan import SweepPlan
from pipeline.tuning.run import run_trials
from tests.splits import write_splits

SMALL = VariantSettings(hidden=[16], lr=0.1, batch_size=20, epochs=3)


@pytest.fixture(scope="session")
def splits(digits, tmp_path_factory):
    """A folder with 400 digits for training and 200 for validation."""
    folder = tmp_path_factory.mktemp("splits")
    rows = np.random.default_rng(0).permutation(len(digits.labels))
    write_splits(folder, digits, {"train": rows[:400], "validation": rows[400:600]})
    return folder


def plan_of(settings=None, base=SMALL, seed=0, **changes):
    given = {"sampler": "tpe", "pruner": "none", "trials": 16, "parallel": 3} | changes
    settings = settings or {"lr": {"low": 0.01, "high": 2, "log": True}, "batch_size": [20, 50]}
    space = SpaceSettings.model_validate(given | {"settings": settings})
    return SweepPlan("small", base, space, seed, "cpu")


@pytest.fixture
def sweep(splits, tmp_path):
    """A function that runs a plan on workers in this process and returns its trials and output."""

    def run(plan, workers=2, folder="store", address=None):
        lines = []
        trials = run_trials(
            plan, splits, tmp_path / folder, lines.append, address, workers, processes=False
        )
        return trials, lines

    return run
