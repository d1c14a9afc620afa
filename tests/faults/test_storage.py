"""A full disk or read-only folder: one line, exit code 1, earlier outputs intact, and recovery."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.faults.project import content, environment, make_project, shell

DEFINITIONS = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
VARIANT = "tiny"
SPACE = "300m"

pytestmark = pytest.mark.slow


def command(stage):
    definition = DEFINITIONS[stage]
    return definition["cmd"] + (f" {VARIANT}" if "matrix" in definition else "")


def output_folders(stage):
    """Return the folders in which a stage puts its outs."""
    outs = [next(iter(out)) for out in DEFINITIONS[stage]["outs"]]
    return sorted({str(Path(out.replace("${item.variant}", VARIANT)).parent) for out in outs})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A project with all results, whose settings then changed: any new output would differ."""
    folder = make_project(tmp_path_factory.mktemp("finished") / "project")
    shell("dvc repro", folder)
    params = folder / "params.yaml"
    params.write_text(re.sub(r"^seed: 0", "seed: 1", params.read_text(), flags=re.M))
    assert "seed: 1" in params.read_text()
    return folder


def run(folder, wrapped):
    return subprocess.run(
        ["sh", "-c", wrapped], cwd=folder, env=environment(), capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def check_refusal_and_recovery(folder, stage, wrapped, make_room=lambda: None):
    """Run a stage where it cannot write, and again where it can."""
    before = content(folder)
    refused = run(folder, wrapped)
    lines = [line for line in refused.stderr.splitlines() if not line.startswith("Warning: ")]
    assert refused.returncode == 1, refused.stderr
    assert len(lines) == 1, refused.stderr
    assert re.fullmatch(r"Error: [^.].+ cannot be written: .+", lines[0])
    assert ".tmp" not in lines[0]
    make_room()
    # Training that could not write its model may have kept a checkpoint, to go on from.
    left = {name: kept for name, kept in content(folder).items() if name[:13] != ".checkpoints/"}
    assert left == before
    again = run(folder, command(stage))
    assert again.returncode == 0, again.stderr
    assert content(folder).keys() == before.keys()
    if stage in ("convert", "split", "train"):
        assert content(folder) != before


def copied(finished, folder):
    ignored = shutil.ignore_patterns("__pycache__", "cache", ".git")
    return Path(shutil.copytree(finished, folder, ignore=ignored))


@pytest.mark.parametrize("stage", DEFINITIONS)
def test_a_stage_that_may_write_no_byte_says_so_and_keeps_what_was_there(stage, finished, tmp_path):
    folder = copied(finished, tmp_path / "project")
    # joblib, which scikit-learn brings, warns where it cannot make a semaphore.
    limited = f"ulimit -f 0; JOBLIB_MULTIPROCESSING=0 exec {command(stage)}"
    check_refusal_and_recovery(folder, stage, limited)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of its own, of SPACE bytes."""
    mounted = run(tmp_path, f"mkdir disk && mount -t tmpfs -o size={SPACE} tmpfs disk")
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield tmp_path / "disk"
    run(tmp_path, "umount disk")


@pytest.mark.parametrize("stage", DEFINITIONS)
def test_a_stage_on_a_full_disk_says_so_and_goes_on_when_there_is_room(stage, finished, small_disk):
    folder = copied(finished, small_disk / "project")
    filler = small_disk / "filler"
    assert run(small_disk, "cat /dev/zero > filler").returncode
    check_refusal_and_recovery(folder, stage, f"exec {command(stage)}", filler.unlink)


@pytest.mark.parametrize("stage", DEFINITIONS)
def test_a_stage_whose_output_folder_is_read_only_says_so(stage, finished, tmp_path):
    folder = copied(finished, tmp_path / "project")
    alone = "unshare --mount --map-root-user sh -c"
    possible = run(folder, f"{alone} 'mount --bind data data'")
    if possible.returncode:
        pytest.skip(f"no folder can be made read-only here: {possible.stderr.strip()}")
    for output in output_folders(stage):
        locked = f"mount --bind {output} {output} && mount -o remount,bind,ro {output}"
        if output == ".":
            locked = "mount --bind . . && mount -o remount,bind,ro . && cd $PWD"
        wrapped = f"{alone} '{locked} && exec {command(stage)}'"
        check_refusal_and_recovery(folder, stage, wrapped)
        shutil.rmtree(folder)
        copied(finished, folder)
