"""A project that trains a small network in a second, and its stages, run as DVC runs them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline.datasets.images import LabelledImages
from tests.conftest import changed_params
from tests.splits import write_splits

EPOCHS = 3


def make_small(project: Path, digits: LabelledImages) -> None:
    """Write splits of 200 digits to a project, and one variant of 3 epochs, tiny."""
    rows = np.split(np.arange(200), (120, 150))
    parts = dict(zip(("train", "validation", "test"), rows, strict=True))
    write_splits(project / "data/splits", digits, parts)
    change(project, epochs=EPOCHS)


def change(project: Path, **settings: object) -> None:
    """Change settings in params.yaml, with tiny as the only variant."""
    with changed_params(project) as params:
        params.update(settings)
        params["variants"] = {"tiny": params["variants"]["tiny"]}


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Return this process's environment without trackers' variables and with another home."""
    steering = ("WANDB", "MLFLOW", "DVC")
    own = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return own | {"HOME": str(home), "NO_PROXY": "127.0.0.1"} | variables


def stage(
    project: Path, name: str, *options: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a stage for tiny, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{name}", "tiny", *options],
        cwd=project, env=environment(project.parent, **variables), capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def results(project: Path) -> dict[str, bytes]:
    """Return the bytes of all outputs of training and evaluation."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for folder in ("models", "metrics", "plots")
        for path in sorted((project / folder).rglob("*.*"))
        if path.name != ".gitignore"
    }
