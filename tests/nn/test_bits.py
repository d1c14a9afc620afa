"""Training gives the same bytes on every CPU: digests that any machine must reproduce."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.nn.digests import digest

DIGESTS = {
    "distorted": "769bb260a9d1a42d",
    "large": "8feb2d2d626c608b",
    "full_batch": "700311b09bd9720b",
    "small_batch": "a0b45175b4183006",
    "one_hidden": "457ecc68e6a418dd",
    "mini_batch": "04340bc0e7aaa293",
    "tiny": "5b0998f329a19362",
    "two_hidden": "b307db2f4c6eaa9c",
}
SSE = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+cx16"
AVX2 = f"{SSE},+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+lzcnt,+movbe"
AVX512 = f"{AVX2},+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl"


@pytest.fixture(scope="module")
def few(digits):
    """1,200 digits for training and 200 for validation."""
    rows = np.random.default_rng(0).permutation(5000)[:1400]
    return digits.images[rows].reshape(-1, 784), digits.labels[rows]


@pytest.mark.parametrize("variant", DIGESTS)
def test_training_gives_the_same_bytes_on_every_machine_and_number_of_threads(variant, few):
    assert {digest(variant, *few, threads) for threads in (1, 2, 3, 8)} == {DIGESTS[variant]}


def has(features):
    """Whether this CPU has the features that code for another CPU needs."""
    try:
        own = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    names = {name.strip("+").replace(".", "_") for name in features.split(",")}
    linux = {"sse3": "pni", "lzcnt": "abm", "bmi": "bmi1"}
    return {linux.get(name, name) for name in names} <= own


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "features"),
    [("haswell", AVX2), ("skylake-avx512", AVX512), ("znver4", AVX512), ("nehalem", SSE)],
)
def test_code_compiled_for_another_cpu_gives_the_same_bytes(name, features, few, tmp_path):
    if not has(features):
        pytest.skip(f"this CPU cannot run code for {name}")
    np.savez(tmp_path / "digits.npz", images=few[0], labels=few[1])
    environment = {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
    answer = subprocess.run(
        [sys.executable, "-m", "tests.nn.digests", tmp_path / "digits.npz", "2"],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(answer.stdout) == DIGESTS
