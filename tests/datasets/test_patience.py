"""Downloads by the stage itself, with the limits and pauses as a user has them."""

import os
import subprocess
import sys
import time

import pytest
from ruamel.yaml import YAML

from pipeline.datasets.downloading import (
    MAX_BYTES,
    MIN_RATE,
    RATE_SECONDS,
    SILENT_SECONDS,
)
from pipeline.datasets.sources import RETRIES
from tests.conftest import copy_project
from tests.datasets.fetching import fetch_from
from tests.datasets.layouts import content_of, write_files
from tests.servers import Fault, serve

pytestmark = pytest.mark.slow

NAME = "train-images-idx3-ubyte.gz"
START = 20
"""Seconds that a busy machine may need beside all waiting."""


@pytest.fixture
def start(tmp_path, checksums):
    """Start the stage `download` in a project of its own, with a mirror as its only source."""

    def start(name, url):
        project = copy_project(tmp_path / name)
        yaml = YAML()
        params = yaml.load(project / "params.yaml")
        params["dataset"] = "mnist"
        params["datasets"]["mnist"] |= {"source": url, "checksums": dict(checksums)}
        yaml.dump(params, project / "params.yaml")
        write_files(project / "data/raw", {"earlier": b"result"})
        environment = os.environ | {"NO_PROXY": "127.0.0.1"}
        with open(project / "said", "w") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", "stages.download"],
                cwd=project, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            )  # fmt: skip
        return project, process, time.monotonic()

    return start


def end(project, process, started):
    """Give the seconds, the most memory in MiB and the lines of a stage that must have failed."""
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1
    assert content_of(project / "data") == {"raw/earlier": b"result"}
    return seconds, usage.ru_maxrss / 1024, (project / "said").read_text().splitlines()


def test_servers_that_stall_or_drip_are_given_up_when_they_should_be(server, start):
    waits = {
        Fault.SILENT: (SILENT_SECONDS, f"sends nothing for {SILENT_SECONDS} s"),
        Fault.STALLED: (SILENT_SECONDS, f"sends nothing for {SILENT_SECONDS} s"),
        Fault.DRIPPING: (RATE_SECONDS, f"fewer than {MIN_RATE:,}"),
        Fault.DRIPPING_HEADER: (RATE_SECONDS, f"fewer than {MIN_RATE:,}"),
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


def test_a_server_that_never_ends_fills_neither_memory_nor_disk(server, start):
    server.fail(NAME, Fault.ENDLESS)
    _, megabytes, (line,) = end(*start("endless", server.url))
    assert f"sends more than {MAX_BYTES:,} bytes" in line
    assert megabytes < 300


@pytest.mark.full
def test_the_real_set_survives_a_reset_of_every_file(full_data, tmp_path, raw, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(full_data / "mnist") as server:
        names = [path.name for path in (full_data / "mnist").glob("*ubyte.gz")]
        params = YAML(typ="safe").load((copy_project(tmp_path / "p") / "params.yaml").read_text())
        for name in names:
            server.fail(name, Fault.RESET, times=1)
        messages = []
        fetch_from(
            server.url,
            into=raw,
            checksums=params["datasets"]["mnist"]["checksums"],
            report=messages.append,
            retries=RETRIES,
        )
    assert len(messages) == len(names) == 4
    assert content_of(raw) == {name: (full_data / "mnist" / name).read_bytes() for name in names}
