"""A project that trains one small network in a second, and its stages run as DVC runs them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from pipeline.datasets.images import LabelledImages
from pipeline.datasets.splitting import Normalization
from pipeline.datasets.tables import Description, Examples, write_examples

CLASSES = tuple("0123456789")
EPOCHS = 3


def make_small(project: Path, digits: LabelledImages) -> None:
    """Give a project splits of 200 digits, and one variant of 3 epochs, called tiny."""
    normalization = Normalization("scale", 0.0, 1.0)
    for name, rows in (
        ("train", np.arange(120)),
        ("validation", np.arange(120, 150)),
        ("test", np.arange(150, 200)),
    ):
        taken = digits.take(rows)
        examples = Examples(
            normalization.apply(taken.images),
            taken.labels,
            Description("mnist-5k", CLASSES, "a test"),
            normalization,
        )
        write_examples(project / f"data/splits/{name}.parquet", examples)
    change(project, epochs=EPOCHS)


def change(project: Path, **settings: object) -> None:
    """Change settings in params.yaml, leaving tiny as the only variant."""
    yaml = YAML()
    params = yaml.load(project / "params.yaml")
    params.update(settings)
    params["variants"] = {"tiny": params["variants"]["tiny"]}
    yaml.dump(params, project / "params.yaml")


def environment(home: Path, **variables: str) -> dict[str, str]:
    """Give this process's variables without those that steer trackers, and with a home apart."""
    steering = ("WANDB", "MLFLOW", "DVC")
    own = {name: value for name, value in os.environ.items() if not name.startswith(steering)}
    return own | {"HOME": str(home), "NO_PROXY": "127.0.0.1"} | variables


def stage(project: Path, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a stage of tiny, which must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{name}", "tiny"],
        cwd=project, env=environment(project.parent, **variables), capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


def results(project: Path) -> dict[str, bytes]:
    """Give the bytes of everything that training and evaluation made."""
    return {
        path.relative_to(project).as_posix(): path.read_bytes()
        for folder in ("models", "metrics", "plots")
        for path in sorted((project / folder).rglob("*.*"))
    }
