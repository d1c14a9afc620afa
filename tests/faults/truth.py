"""What a run from nothing gives, for the settings and the code of a project; each state runs once.

The stages run without DVC, one after the other, each in a fork of a process that has imported the
packages they share: a quarter of the time of `dvc repro`, and independent of what DVC remembers.
"""

import ast
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from tests.conftest import copy_project
from tests.faults.project import OUTPUTS, environment

STAGES = """
import os, runpy, sys
import click, matplotlib.figure, numpy, pyarrow.parquet, pydantic, ruamel.yaml, scipy.ndimage

def run(stage, *arguments):
    if not (child := os.fork()):
        sys.argv = [stage, *arguments]
        runpy.run_module(f"stages.{stage}", run_name="__main__")
        os._exit(1)  # a command ends by itself
    if os.waitpid(child, 0)[1]:
        sys.exit(f"{stage} {arguments} failed")

for stage in ("download", "convert", "split"):
    run(stage)
for stage in ("train", "evaluate", "visualize"):
    for variant in sys.argv[1:]:
        run(stage, variant)
run("compare")
run("report")
"""

Digests = dict[str, str]


def settings(folder: Path) -> dict[str, object]:
    """Return the content of a project's params.yaml."""
    content = YAML(typ="safe", pure=True).load((folder / "params.yaml").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def state(folder: Path) -> str:
    """Return a digest of a project's settings and of what its code does, comments left out."""
    digest = hashlib.sha256(json.dumps(settings(folder)).encode())
    for part in ("pipeline", "stages"):
        for path in sorted((folder / part).rglob("*.py")):
            name, tree = path.relative_to(folder), ast.parse(path.read_bytes())
            digest.update(f"{name}\n{ast.dump(tree)}\n".encode())
    return digest.hexdigest()


def outputs(folder: Path) -> Digests:
    """Return the SHA-256 of each file that the pipeline writes, by name."""
    found = {}
    for part in OUTPUTS[:-1]:
        for path in sorted((folder / part).rglob("*")):
            if path.is_file() and path.name != ".gitignore":
                name = path.relative_to(folder).as_posix()
                found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


class Truth:
    """The outputs of runs from nothing, by settings and code. `folder` is for the runs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known: dict[str, Digests] = {}

    def __len__(self) -> int:
        return len(self._known)

    def of(self, project: Path) -> Digests:
        """Return what the settings and the code of a project give."""
        key = state(project)
        if key not in self._known:
            fresh = copy_project(self._folder / f"fresh{len(self)}")
            for part in ("pipeline", "stages"):
                shutil.rmtree(fresh / part)
                shutil.copytree(project / part, fresh / part)
            shutil.copy(project / "params.yaml", fresh)
            variants = settings(fresh)["variants"]
            assert isinstance(variants, dict)
            done = subprocess.run(
                [sys.executable, "-c", STAGES, *variants], cwd=fresh, env=environment(),
                capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            assert not done.returncode, done.stdout + done.stderr
            self._known[key] = outputs(fresh)
            shutil.rmtree(fresh)
        return self._known[key]
