"""Contestants as processes: environment, turns and failures; and the clock."""

import json
import shutil
import subprocess
import sys
from contextlib import ExitStack

import pytest

from benchmarks import worker
from benchmarks.children import run_module, start_contestant
from benchmarks.machine import free_environment
from pipeline.base.errors import PipelineError
from pipeline.base.machine import available_cores
from tests.conftest import ROOT
from tests.refusal import refused

pytestmark = pytest.mark.long


def blas(contestant):
    (found,) = [name for name in contestant.introduction["libraries"] if "openblas" in name]
    return found


def test_contestants_take_turns_with_the_kernels_of_the_processor(
    make_small_job, tmp_path, monkeypatch
):
    # Variables of the parent do not reach the contestants.
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")
    _, folder = make_small_job("tiny")
    with ExitStack() as stack:
        ours, rival, sparse = contestants = [
            stack.enter_context(start_contestant(name, folder, tmp_path))
            for name in ("ours", "numpy-loop", "numpy-scipy-sparse")
        ]
        for contestant in contestants * 2:
            for validation in (True, False):
                assert 0 < contestant.measure(0.01, validation=validation) < 10
            first = contestant.introduction["first"][0]
            assert first == pytest.approx(ours.introduction["first"][0], rel=1e-4)
        assert f"threads: {available_cores()}" in blas(rival)
        assert blas(ours) == blas(rival) == blas(sparse)
        assert "Nehalem" not in blas(rival)
        for contestant, package in ((ours, "Numba"), (rival, "NumPy"), (sparse, "SciPy")):
            libraries = contestant.introduction["libraries"]
            assert any(line.startswith(f"{package} ") for line in libraries)


def test_the_environment_of_a_child_has_only_the_requested_choices(monkeypatch):
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NUMBA_CPU_NAME"):
        monkeypatch.setenv(name, "2")
    monkeypatch.setenv("LANG", "C")
    environment = free_environment(OPENBLAS_NUM_THREADS="1")
    assert environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["LANG"] == "C"
    assert environment.keys().isdisjoint({"OMP_NUM_THREADS", "NUMBA_CPU_NAME"})


def test_without_threadpoolctl_only_packages_are_listed(monkeypatch):
    assert any("(" in line for line in worker.libraries())
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    python, *packages = worker.libraries()
    assert python.startswith("Python 3")
    assert any(line.startswith("NumPy ") for line in packages)
    assert not any("(" in line for line in packages)


def test_a_contestant_that_cannot_train_a_variant_answers_with_the_reason(make_small_job, tmp_path):
    with start_contestant("scikit-learn", make_small_job("full_batch")[1], tmp_path) as contestant:
        assert contestant.introduction == {"cannot": "does not clip gradients"}


def test_the_error_of_a_contestant_has_its_name_and_last_line(make_small_job, tmp_path, capfd):
    broken = tmp_path / "job"
    shutil.copytree(make_small_job("tiny")[1], broken)
    (broken / "labels.npy").write_bytes(b"nothing")
    with refused(error=PipelineError, match=r"^numpy-loop: .*"):
        start_contestant("numpy-loop", broken, tmp_path).__enter__()
    assert "Traceback" in capfd.readouterr().err  # printed in full


def test_the_error_of_a_stage_is_one_line(tmp_path, capfd):
    with refused(error=PipelineError, match=r"^stages\.split: params\.yaml cannot be read: .*"):
        run_module("stages.split", cwd=tmp_path)
    assert capfd.readouterr().err == ""


def clock(code):
    # This process itself holds 200 MiB.
    held = bytearray(b"x" * (200 << 20))
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.clock", sys.executable, "-c", code],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert len(held) == 200 << 20
    return output.returncode, json.loads(output.stdout)


def test_the_clock_measures_the_time_and_peak_memory_of_a_command_and_exits_with_its_code():
    status, small = clock("print('hello')")
    assert status == 0
    assert small["peak_bytes"] < 100 << 20
    status, large = clock(
        "import time; x = b'x' * (150 << 20); time.sleep(0.3); raise SystemExit(3)"
    )
    assert status == 3
    assert 150 << 20 < large["peak_bytes"] < 190 << 20
    assert large["seconds"] >= 0.3
