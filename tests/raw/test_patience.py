"""Downloads by the stage itself, with its real limits and pauses."""

import hashlib
import json
import os
import subprocess
import sys

import pytest

from pipeline.raw.http import MAX_BYTES, MIN_RATE, RATE_SECONDS, SILENT_SECONDS
from pipeline.raw.sources import RETRIES
from tests.conftest import ROOT, changed_params, copy_project
from tests.layouts import content_of, write_files
from tests.raw.fetching import fetch_from
from tests.servers import Fault, serve

pytestmark = pytest.mark.slow

NAME = "train-images-idx3-ubyte.gz"
START = 20
"""Seconds allowed to a busy machine besides all waiting."""


@pytest.fixture
def start(tmp_path, checksums):
    """Start the stage `download` in a project of its own, with a mirror as its only source."""

    def start(name, url):
        project = copy_project(tmp_path / name)
        with changed_params(project) as params:
            params["dataset"] = "mnist"
            params["datasets"]["mnist"] |= {"source": url, "checksums": dict(checksums)}
        write_files(project / "data/raw", {"earlier": b"result"})
        environment = os.environ | {"NO_PROXY": "127.0.0.1"}
        environment["PYTHONPATH"] = str(ROOT)  # for the clock; the stage's own code is in cwd
        with open(project / "errors.txt", "w") as errors:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "benchmarks.clock"),
                    *(sys.executable, "-m", "stages.download"),
                ],
                cwd=project, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=errors, text=True,
            )  # fmt: skip
        return project, process

    return start


def end(project, process):
    """Return the seconds, peak MiB and error lines of a stage that must have failed."""
    clock = json.loads(process.communicate()[0])
    assert process.returncode == 1
    assert content_of(project / "data") == {"raw/earlier": b"result"}
    lines = (project / "errors.txt").read_text().splitlines()
    return clock["seconds"], clock["peak_bytes"] / 2**20, lines


def test_servers_that_stall_or_drip_are_abandoned_in_time(server, start):
    waits = {
        Fault.SILENT: (SILENT_SECONDS, f"sends nothing for {SILENT_SECONDS} s"),
        Fault.STALLED: (SILENT_SECONDS, f"sends nothing for {SILENT_SECONDS} s"),
        Fault.DRIPPING: (RATE_SECONDS, f"fewer than {MIN_RATE:,}"),
    }
    server.pause = 1
    running = {}
    for fault in waits:
        path = f"{fault.name}/{NAME}"
        write_files(server.folder, {path: bytes(10_000)})
        server.fail(path, fault)
        running[fault] = start(fault.name, f"{server.url}{fault.name}/")
    ended = {fault: end(*begun) for fault, begun in running.items()}
    for fault, (seconds, _, lines) in ended.items():
        wait, reason = waits[fault]
        expected = (1 + RETRIES) * wait + sum(range(1 + RETRIES))
        assert expected - 1 < seconds < expected + START, (fault, seconds)
        assert len(lines) == 1 + RETRIES
        for number, line in enumerate(lines[:-1], 1):
            assert line.startswith(f"Warning: {server.url}{fault.name}/{NAME}: ")
            assert reason in line
            assert line.endswith(f"trying again in {number} s ({number} of {RETRIES})")
        assert lines[-1].startswith("Error: no source works: ")
        assert reason in lines[-1]


def test_an_endless_response_fills_neither_memory_nor_disk(server, start):
    server.fail(NAME, Fault.ENDLESS)
    _, megabytes, (line,) = end(*start("endless", server.url))
    assert f"sends more than {MAX_BYTES:,} bytes" in line
    assert megabytes < 300


@pytest.mark.full
def test_the_real_set_survives_a_reset_of_every_file(full_data, raw, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    files = {path.name: path.read_bytes() for path in (full_data / "mnist").glob("*ubyte.gz")}
    messages = []
    with serve(full_data / "mnist") as server:
        for name in files:
            server.fail(name, Fault.RESET, times=1)
        fetch_from(
            server.url,
            into=raw,
            checksums={
                name: f"md5:{hashlib.md5(content).hexdigest()}" for name, content in files.items()
            },
            report=messages.append,
            retries=RETRIES,
        )
    assert len(messages) == len(files) == 4
    assert content_of(raw) == files
