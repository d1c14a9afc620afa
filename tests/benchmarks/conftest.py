"""Small jobs for contestants: each variant on real digits."""

import numpy as np
import pytest

from benchmarks.data import make_job
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from tests.conftest import shipped_settings

SETTINGS = shipped_settings()


@pytest.fixture(scope="session")
def make_small_job(digits, tmp_path_factory):
    """Return a function that makes the job of a variant on 700 images, and its folder."""
    normalization = Normalization("scale", 0.0, 1.0)
    rows = np.random.default_rng(0).permutation(5000)
    parts = [
        Examples(
            normalization.apply(digits.take(part).images),
            digits.take(part).labels,
            Description("mnist-5k", tuple("0123456789"), "a test"),
            normalization,
        )
        for part in (rows[:700], rows[700:900])
    ]
    made = {}

    def make(variant):
        if variant not in made:
            folder = tmp_path_factory.mktemp("jobs") / variant
            made[variant] = make_job(folder, SETTINGS.variant(variant), 0, *parts), folder
        return made[variant]

    return make
