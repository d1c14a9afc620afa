"""The trained bytes are the same on processors that would pick other kernels."""

import os
import subprocess
import sys

import pytest

from pipeline import processor
from tests.conftest import ROOT

PRODUCT = """
import hashlib, numpy as np
rng = np.random.default_rng(0)
a, b = (rng.normal(size=shape).astype("f4") for shape in ((300, 784), (784, 107)))
c = a @ b
parts = [c, a.T @ c, np.exp(-np.abs(c)), np.tanh(c), np.log1p(np.abs(c)), c.sum(axis=1)]
print(hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest())
"""

# What OpenBLAS and NumPy would choose by themselves on other processors.
PROCESSORS = {
    "Haswell": {"OPENBLAS_CORETYPE": "Haswell", "NPY_DISABLE_CPU_FEATURES": "X86_V4"},
    "Sandybridge": {"OPENBLAS_CORETYPE": "Sandybridge", "NPY_DISABLE_CPU_FEATURES": "X86_V3"},
    "Nehalem": {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": "X86_V3"},
    "Zen, two threads": {"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_NUM_THREADS": "2"},
}

needs_x86 = pytest.mark.skipif(
    not processor.can_pin(), reason="kernels are pinned on x86-64 processors with AVX2 only"
)


def product(environment, pinned):
    environment = {
        **{key: value for key, value in os.environ.items() if key not in processor.KERNELS},
        **environment,
    }
    first = "import pipeline\n" if pinned else ""
    return subprocess.run(
        [sys.executable, "-c", first + PRODUCT],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@needs_x86
def test_pinned_results_are_the_same_where_unpinned_ones_differ():
    unpinned = {product(environment, pinned=False) for environment in PROCESSORS.values()}
    pinned = {product(environment, pinned=True) for environment in PROCESSORS.values()}
    assert len(unpinned) > 1
    assert len(pinned) == 1


@needs_x86
def test_numpy_and_openblas_run_the_pinned_kernels():
    import numpy as np
    from numpy._core._multiarray_umath import __cpu_features__ as features
    from threadpoolctl import threadpool_info

    assert not features["X86_V4"]
    (blas,) = [library for library in threadpool_info() if np.__name__ in library["filepath"]]
    assert (blas["architecture"], blas["num_threads"]) == ("Haswell", 1)


@needs_x86
def test_native_kernels_are_the_users_choice():
    portable = product(PROCESSORS["Zen, two threads"], pinned=True)
    own = {**PROCESSORS["Nehalem"], "OPENBLAS_NUM_THREADS": "1"}
    native = {**own, processor.CHOICE: "native"}
    assert product(native, pinned=True) == product(own, pinned=False) != portable


def test_a_choice_of_kernels_that_is_none_gets_one_line():
    run = subprocess.run(
        [sys.executable, "-m", "pipeline", "results"],
        cwd=ROOT, env={**os.environ, processor.CHOICE: "fast"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr == "Error: DIGITS_KERNELS must be portable or native, got 'fast'\n"


def test_a_processor_without_avx2_is_left_to_itself(monkeypatch, tmp_path):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags : fpu sse sse2 avx fma\n")
    monkeypatch.setattr(processor, "Path", lambda name: cpuinfo)
    assert not processor.can_pin()
    cpuinfo.write_text("flags : fpu sse sse2 avx avx2 fma\n")
    monkeypatch.setattr(processor.platform, "machine", lambda: "x86_64")
    assert processor.can_pin()
    monkeypatch.setattr(processor.platform, "machine", lambda: "aarch64")
    assert not processor.can_pin()
