"""What DVC is told of each stage holds all that the stage's results depend on.

Each stage runs twice. First in a whole project, while the files that Python opens are recorded.
Then in a folder that holds only its declared deps, with every setting changed that is not among its
declared params: its outs must be the same bytes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tests.conftest import ROOT, changed_params, copy_project

pytestmark = pytest.mark.long

VARIANT = "tiny"
DEFINITIONS = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]
OTHERWISE = {
    "seed": 7,
    "lr": 0.03,
    "epochs": 1,
    "batch_size": 16,
    "shuffle_buffer": 512,
    "normalize": "standardize",
    "datasets.mnist-5k.source": "/nowhere",
    "datasets.mnist-5k.checksums": {"train-images-idx3-ubyte": "md5:00"},
    "datasets.mnist-5k.test_size": 900,
    "datasets.mnist-5k.validation_size": 400,
    "datasets.mnist-5k.pictures": "as_is",
    "datasets.mnist-5k.class_names": [f"digit {number}" for number in range(10)],
    f"variants.{VARIANT}.hidden": [12],
    f"variants.{VARIANT}.train_limit": 100,
    f"variants.{VARIANT}.test_sample": 10,
}
AUDIT = """
import json, os, runpy, sys
opened = []
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], (str, bytes, os.PathLike)):
        writes = isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        opened.append((os.path.abspath(os.fsdecode(arguments[0])), bool(writes)))
sys.addaudithook(hook)
target, module, sys.argv = sys.argv[1], sys.argv[2], sys.argv[:1]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
finally:
    with open(target, "w") as file:
        json.dump(opened, file)
"""


def declared(stage, what):
    """Return the deps, params or outs of a stage, those of a matrix for one variant."""
    entries = DEFINITIONS[stage][what]
    names = [next(iter(entry)) if isinstance(entry, dict) else entry for entry in entries]
    known = {"${item.variant}": VARIANT, "${dataset}": "mnist-5k"}
    return [re.sub(r"\$\{.*?\}", lambda found: known[found[0]], name) for name in names]


def covered(name, by):
    return any(name == entry or name.startswith((f"{entry}/", f"{entry}.")) for entry in by)


def run(stage, folder, *python):
    environment = os.environ | {"DVC_STAGE": f"{stage}@{VARIANT}", "PYTHONDONTWRITEBYTECODE": "1"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        [sys.executable, *(python or ("-m", f"stages.{stage}"))],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, (stage, done.stderr)


def content(folder, names):
    files = [
        path
        for name in names
        for path in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))
        if path.is_file() and path.name != ".gitignore"
    ]
    assert files
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A project in which every stage has run, and the project's files that each one opened."""
    folder = copy_project(tmp_path_factory.mktemp("whole") / "project")
    with changed_params(folder) as params:
        params["epochs"] = 2
        params["variants"] = {VARIANT: params["variants"][VARIANT]}
    by_stage = {}
    for stage in DEFINITIONS:
        record = folder.parent / f"{stage}.json"
        run(stage, folder, "-c", AUDIT, str(record), f"stages.{stage}")
        by_stage[stage] = {
            Path(path).relative_to(folder).as_posix()
            for path, writes in json.loads(record.read_text())
            if Path(path).is_relative_to(folder) and not writes and Path(path).is_file()
        }
    return folder, by_stage


@pytest.mark.parametrize("stage", DEFINITIONS)
def test_a_stage_opens_only_what_it_declares_and_declares_only_code_that_it_opens(stage, opened):
    _, by_stage = opened
    deps, outs = declared(stage, "deps"), declared(stage, "outs")
    for path in by_stage[stage]:
        assert path == "params.yaml" or covered(path, [*deps, *outs]), path
    for dep in deps:
        if dep.startswith(("pipeline", "stages")):
            assert any(covered(path, [dep]) for path in by_stage[stage]), dep


@pytest.mark.parametrize("stage", DEFINITIONS)
def test_nothing_but_its_deps_and_params_changes_a_stages_outs(stage, opened, tmp_path):
    whole, _ = opened
    for dep in declared(stage, "deps"):
        copy = shutil.copytree if (whole / dep).is_dir() else shutil.copy
        (tmp_path / dep).parent.mkdir(parents=True, exist_ok=True)
        copy(whole / dep, tmp_path / dep)
    shutil.copy(whole / "params.yaml", tmp_path)
    with changed_params(tmp_path) as params:
        for key, value in OTHERWISE.items():
            if not covered(key, declared(stage, "params")):
                *parents, last = key.split(".")
                place = params
                for parent in parents:
                    place = place[parent]
                place[last] = value
    run(stage, tmp_path)
    outs = declared(stage, "outs")
    assert content(tmp_path, outs) == content(whole, outs)
