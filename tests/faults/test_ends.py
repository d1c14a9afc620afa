"""How a stage ends that is told to, or whose DVC is gone."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress

import pytest

from tests.conftest import ROOT
from tests.layouts import content_of

STAGE = """
import os, sys, time
from pathlib import Path
import click
from pipeline.base.command import Command
from pipeline.base.files import whole_folder

@click.command(cls=Command)
def main():
    with whole_folder(Path(sys.argv[1]) / "out"):
        print(os.getpid(), flush=True)
        time.sleep(60)

main(args=[])
"""
PARENT = """
import subprocess, sys
subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""


@contextmanager
def started(*arguments, stage=None):
    """Start a process and give it, with the number of the stage that it is or that it started."""
    process = subprocess.Popen(
        [sys.executable, "-c", *map(str, arguments)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | ({"DVC_STAGE": stage} if stage else {}),
    )  # fmt: skip
    with process:
        number = int(process.stdout.readline())
        try:
            yield process, number
        finally:
            with suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stage_that_is_told_to_end_leaves_nothing_half_written_and_no_traceback(tmp_path, number):
    with started(STAGE, tmp_path) as (process, _):
        assert list(tmp_path.iterdir())
        process.send_signal(number)
        _, error = process.communicate(timeout=30)
    assert process.returncode == (1 if number == signal.SIGINT else 128 + signal.SIGTERM)
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_stage_ends_when_the_dvc_that_started_it_is_killed(tmp_path):
    with started(PARENT, STAGE, tmp_path, stage="train@tiny") as (parent, _):
        parent.kill()
        until = time.monotonic() + 30
        while list(tmp_path.iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        assert list(tmp_path.iterdir()) == []


def test_a_stage_that_nobody_but_a_user_started_outlives_its_shell(tmp_path):
    with started(PARENT, STAGE, tmp_path) as (parent, stage):
        parent.kill()
        time.sleep(1)
        assert list(tmp_path.iterdir())
        os.kill(stage, signal.SIGTERM)


def test_make_mend_removes_links_to_what_the_cache_has_lost_and_no_others(tmp_path):
    cache = tmp_path / ".dvc/cache/files/md5/ab"
    for folder in (cache, tmp_path / "models", tmp_path / "data"):
        folder.mkdir(parents=True)
    (cache / "there").touch()
    links = {"models/lost": cache / "cd", "models/kept": cache / "there", "data/own": "/nowhere"}
    for name, target in links.items():
        (tmp_path / name).symlink_to(target)
    make = [shutil.which("make"), "-s", "-f", ROOT / "Makefile", "mend"]
    subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    assert {name for name in links if (tmp_path / name).is_symlink()} == {"models/kept", "data/own"}


LOCK = "schema: '2.0'\nstages:\n  some:\n    cmd: 'true'\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lock", "left"),
    [(LOCK, LOCK), ("", None), (LOCK[:30], None), (LOCK[: LOCK.index("cmd") + 3], None)],
)
def test_make_mend_removes_what_dvc_left_cut_short_and_nothing_else(tmp_path, lock, left):
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / ".dvc/tmp/rwlock").write_text("{}" if left else "")
    (tmp_path / "dvc.yaml").write_text("stages:\n  some:\n    cmd: 'true'\n")
    (tmp_path / "dvc.lock").write_text(lock)
    make = [shutil.which("make"), "-s", "-f", ROOT / "Makefile", "mend"]
    done = subprocess.run(make, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ("cut short" in done.stdout) == (left is None)
    assert (tmp_path / "dvc.lock").exists() == (left is not None)
    assert (tmp_path / ".dvc/tmp/rwlock").exists() == (left is not None)


@pytest.mark.slow
@pytest.mark.parametrize("lock", [LOCK, None])
def test_make_mend_leaves_the_lock_alone_where_dvc_refuses_something_else(tmp_path, lock):
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_text("stages: 7\n")
    if lock:
        (tmp_path / "dvc.lock").write_text(lock)
    before = content_of(tmp_path)
    make = [shutil.which("make"), "-s", "-f", ROOT / "Makefile", "mend"]
    done = subprocess.run(make, cwd=tmp_path, check=True, capture_output=True)
    assert (done.stdout, done.stderr) == (b"", b"")
    assert {
        name: held for name, held in content_of(tmp_path).items() if "tmp/" not in name
    } == before
