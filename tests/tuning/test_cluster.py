"""Sweeps on a Dask cluster started from the command line, with workers and clients killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager

import pandas as pd
import pytest
from distributed import Client

from pipeline.base.errors import ClusterError
from pipeline.tuning.cluster import open_cluster
from pipeline.tuning.fingerprint import own_fingerprint
from pipeline.tuning.worker import TrialData
from tests.conftest import ROOT, changed_params

RESULTS = (
    "metrics/sweep.json", "plots/sweep.csv", "plots/sweep/history.png", "plots/sweep/parallel.png",
    "plots/sweep/importance.png", "plots/sweep/learning_rate.png",
)  # fmt: skip


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A copy of the project with the offline sample, split by the pipeline."""
    folder = tmp_path_factory.mktemp("sample")
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "params.yaml", folder)
    for stage in ("download", "convert", "split"):
        command = [sys.executable, "-m", f"stages.{stage}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


@contextmanager
def running(folder, name, *command):
    """Run a module until the block ends, with its output in a file."""
    with (
        open(folder / f"{name}.log", "w") as log,
        subprocess.Popen(
            [sys.executable, "-m", *map(str, command)],
            cwd=folder, stdout=log, stderr=log,
        ) as process,
    ):  # fmt: skip
        try:
            yield
        finally:
            process.terminate()


@contextmanager
def cluster(folder, workers, *options, code=None):
    """Run a scheduler and `workers` workers on loopback, and yield the scheduler's address.

    code: folder of the code that the workers run, by default `folder`.
    """
    file = folder / "scheduler.json"
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", 0)
    with ExitStack() as stack:
        stack.enter_context(
            running(folder, "scheduler", *scheduler, "--no-dashboard", "--scheduler-file", file)
        )
        until = time.monotonic() + 60
        while not (file.exists() and file.read_text().endswith("}")):
            assert time.monotonic() < until, (folder / "scheduler.log").read_text()
            time.sleep(0.1)
        address = json.loads(file.read_text())["address"]
        for number in range(workers):
            stack.enter_context(worker(code or folder, f"worker {number}", address, *options))
        with Client(address) as client:
            client.wait_for_workers(workers, timeout=60)
        yield address


def worker(folder, name, address, *options):
    command = ("distributed.cli.dask_worker", address, "--nthreads", 1, "--no-dashboard")
    return running(folder, name, *command, *options)


@contextmanager
def sweep(folder, *options):
    """Start a sweep whose output can be read line by line."""
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "stages.sweep", "two_hidden", *options],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        yield process
        process.kill()


def reported_trials(lines):
    return [int(found[1]) for line in lines if (found := re.match(r"trial (\d+)", line))]


def until_reported(process, count):
    """Read lines until `count` trials are reported."""
    lines = []
    while len(reported_trials(lines)) < count:
        lines.append(process.stdout.readline())
        assert lines[-1], process.stderr.read()
    return lines


def copied(sample, folder):
    shutil.copytree(sample, folder)
    return folder


def change_space(folder, **changes):
    with changed_params(folder) as params:
        params["sweep"]["spaces"]["broad"] |= changes


@pytest.mark.slow
def test_forty_trials_survive_a_killed_worker_and_a_killed_client(sample, tmp_path):
    disturbed, calm = copied(sample, tmp_path / "disturbed"), copied(sample, tmp_path / "calm")
    with cluster(disturbed, 2) as address:
        with sweep(disturbed, "--scheduler", address) as process:
            before = until_reported(process, 8)
            with Client(address) as client:
                busy = next(at for at, trials in client.processing().items() if trials)
                pid = client.run(os.getpid, workers=[busy])[busy]
            os.kill(pid, signal.SIGKILL)
            before += until_reported(process, 8)
            process.send_signal(signal.SIGKILL)
            before += process.stdout.readlines()
        with sweep(disturbed, "--scheduler", address) as process:
            after = process.stdout.readlines()
            assert process.wait() == 0, process.stderr.read()
        with Client(address) as client:
            assert len(client.nthreads()) == 2  # the killed worker has restarted
    finished = int(re.match(r"(\d+) of 40 trials already finished", after[0])[1])
    assert 16 <= finished < 40
    assert not set(reported_trials(before)) & set(reported_trials(after))
    assert finished + len(reported_trials(after)) == 40
    table = pd.read_csv(disturbed / "plots/sweep.csv")
    assert table["trial"].tolist() == list(range(40))
    assert set(table["state"]) <= {"complete", "failed"}
    with sweep(calm) as process:
        lines = process.stdout.readlines()
        assert process.wait() == 0, process.stderr.read()
    assert len(set(reported_trials(lines))) == 40
    for name in RESULTS:
        assert (disturbed / name).read_bytes() == (calm / name).read_bytes(), name


@pytest.mark.slow
def test_the_data_are_sent_once_to_each_worker_even_if_it_restarts_or_joins_later(sample, tmp_path):
    folder = copied(sample, tmp_path / "project")
    change_space(folder, trials=100)
    with (
        cluster(folder, 1) as address,
        sweep(folder, "--scheduler", address) as process,
    ):
        until_reported(process, 2)
        with worker(folder, "late", address):
            with Client(address) as client:
                client.wait_for_workers(2, timeout=60)
                first = min(client.nthreads())
                os.kill(client.run(os.getpid, workers=[first])[first], signal.SIGKILL)
                deadline = time.monotonic() + 60
                while first in (there := client.nthreads()) or len(there) < 2:
                    assert time.monotonic() < deadline, "the killed worker did not restart"
                    time.sleep(0.1)
            process.stdout.readlines()
            assert process.wait() == 0, process.stderr.read()
            with Client(address) as client:
                assert len(client.nthreads()) == 2
    for name in ("worker 0", "late"):
        log = (folder / f"{name}.log").read_text()
        born, given = log.count("Start worker at"), log.count("Starting Worker plugin trial-")
        assert 1 <= given == born, log


@pytest.mark.slow
def test_a_trial_that_kills_its_workers_fails_and_the_others_continue(sample, tmp_path):
    folder = copied(sample, tmp_path / "project")
    tried = {"hidden": [[8], [200_000], [16]], "epochs": [2]}
    change_space(folder, sampler="grid", settings=tried)
    with (
        cluster(folder, 2, "--memory-limit", "700MB") as address,
        sweep(folder, "--scheduler", address) as process,
    ):
        process.stdout.readlines()
        assert process.wait() == 0, process.stderr.read()
    table = pd.read_csv(folder / "plots/sweep.csv")
    states = dict(zip(table["settings.hidden"], table["state"], strict=True))
    assert states == {"[8]": "complete", "[16]": "complete", "[200000]": "failed"}
    (reason,) = table["reason"].dropna()
    assert reason.startswith("its worker died, 4 times")


@pytest.mark.slow
def test_a_worker_with_other_code_is_a_one_line_error(sample, tmp_path):
    folder, other = copied(sample, tmp_path / "project"), copied(sample, tmp_path / "other")
    with open(other / "pipeline/nn/losses.py", "a") as file:
        file.write("# another rule\n")
    with (
        cluster(folder, 1, code=other) as address,
        sweep(folder, "--scheduler", address) as process,
    ):
        assert process.wait() == 1
        (line,) = process.stderr.read().splitlines()
    assert line.startswith("Error: the worker tcp://127.0.0.1:")
    assert line.endswith("has another version of this project's code")


@pytest.mark.slow
def test_workers_that_do_not_answer_are_named(sample, tmp_path, monkeypatch):
    folder = copied(sample, tmp_path / "project")
    monkeypatch.setattr("pipeline.tuning.cluster.ANSWER", 8)
    with cluster(folder, 7) as address:
        with Client(address) as client:
            pids = client.run(os.getpid)
        silent = sorted(pids)[1:3]
        data = TrialData(b"", b"", own_fingerprint(), in_memory=True)
        for worker in silent:
            os.kill(pids[worker], signal.SIGSTOP)
        try:
            with pytest.raises(ClusterError) as caught, open_cluster(address, None, "name", data):
                pass
        finally:
            for worker in silent:
                os.kill(pids[worker], signal.SIGCONT)
    assert str(caught.value) == f"not all workers answered within 8 s; restart {', '.join(silent)}"


@pytest.mark.slow
def test_a_lost_scheduler_is_a_one_line_error_and_finished_trials_are_saved(sample, tmp_path):
    folder = copied(sample, tmp_path / "project")
    change_space(folder, trials=6)
    with (
        cluster(folder, 2) as address,
        sweep(folder, "--scheduler", address) as process,
    ):
        until_reported(process, 2)
        with Client(address) as client:
            client.shutdown()
        process.stdout.readlines()
        assert process.wait() == 1
        (line,) = process.stderr.read().splitlines()
    assert line.startswith("Error: the connection to the scheduler was lost; run the command again")
    with sweep(folder) as process:
        assert re.match(r"[2-5] of 6 trials already finished", process.stdout.readline())
        process.stdout.readlines()
        assert process.wait() == 0, process.stderr.read()
