"""`python -m stages.sweep` and `stages.repeat`: their outputs and their error messages."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.tuning import packages
from stages.repeat import main as repeat
from stages.sweep import main as sweep
from tests.conftest import ROOT, changed_params

QUICK = {
    "sampler": "tpe", "pruner": "median", "trials": 8, "parallel": 4,
    "settings": {
        "lr": {"low": 0.01, "high": 1.0, "log": True}, "hidden": [[16], [32]], "epochs": [2, 3],
        "batch_size": [20],
    },
}  # fmt: skip


def change(key, value):
    """Change one setting of params.yaml in the working directory."""
    *parents, last = key.split(".")
    with changed_params(Path()) as place:
        for parent in parents:
            place = place[parent]
        place[last] = value


@pytest.fixture(name="folder")
def _folder(project, splits, monkeypatch):
    """A copy of the project, with few digits and a quick sweep, as the working directory."""
    shutil.copytree(splits, project / "data/splits")
    shutil.copytree(ROOT / "sweep", project / "sweep")
    monkeypatch.chdir(project)
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    change("sweep.spaces.broad", QUICK)
    return project


def shell(*command, **environment):
    return subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def refusal(command, *arguments):
    """Run a command that must fail, and return its one-line error."""
    result = CliRunner().invoke(command, list(arguments))
    assert result.exit_code == 1, result.output
    *output, line = result.output.splitlines()
    assert line.startswith("Error: ")
    assert not output or output[0].startswith("looking for workers at ")
    assert not [*Path("plots").iterdir(), *Path("metrics").iterdir()]
    return line


@pytest.mark.parametrize("command", [sweep, repeat])
def test_a_mistake_is_a_one_line_error_and_nothing_is_written(folder, monkeypatch, command):
    assert "variant must be one of " in refusal(command, "deep")
    line = refusal(command, "tiny", "--scheduler", "tcp://127.0.0.1:1:2")
    assert "no Dask scheduler answers at tcp://127.0.0.1:1:2" in line
    (folder / "data/splits/train.parquet").unlink()
    assert "train.parquet does not exist; make it with: dvc repro split" in refusal(command, "tiny")
    monkeypatch.setattr(
        packages, "find_spec", lambda name: None if name == "optuna" else find_spec(name)
    )
    assert "needs optuna, not installed: pip install -e '.[sweep]'" in refusal(command, "tiny")


@pytest.mark.usefixtures("folder")
def test_an_invalid_space_is_a_one_line_error():
    assert "sweep.space must be one of broad, " in refusal(sweep, "tiny", "--space", "gone")
    change("lr", 0.5)
    line = refusal(sweep, "tiny")
    assert line.endswith(
        "lr must be null because sweep.spaces.broad.settings.lr varies it, got 0.5"
    )


@pytest.mark.slow
def test_a_sweep_writes_its_results_and_the_winner_trains_to_the_same_accuracy(folder):
    result = shell(sys.executable, "-m", "stages.sweep", "tiny")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    found = json.loads((folder / "metrics/sweep.json").read_text())
    table = pd.read_csv(folder / "plots/sweep.csv")
    assert len(table) == sum(found["trials"].values()) == 8
    best = table[table["state"] == "complete"]["validation_accuracy"].max()
    assert found["validation_accuracy"] == best
    assert {path.name for path in (folder / "plots/sweep").iterdir()} == {
        "history.png", "importance.png", "learning_rate.png", "parallel.png",
    }  # fmt: skip
    command = shlex.split(result.stdout.splitlines()[-1])
    assert command[:3] == ["dvc", "exp", "run"]
    for option in command[4::2]:
        key, _, value = option.partition("=")
        change(key, YAML(typ="safe", pure=True).load(value))
    assert shell(sys.executable, "-m", "stages.train", "tiny").returncode == 0
    history = pd.read_csv(folder / "plots/history/tiny.csv")
    trained = history[history["split"] == "validation"]["accuracy"].iloc[-1]
    assert trained == pytest.approx(found["validation_accuracy"], abs=1e-6)


@pytest.mark.slow
def test_repeats_are_stored_and_summarised_in_one_line(folder):
    change("variants.tiny.epochs", 4)
    change("variants.tiny.batch_size", 20)
    command = (sys.executable, "-m", "stages.repeat", "tiny", "--seeds")
    assert shell(*command, "3").returncode == 0
    result = shell(*command, "5")
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("3 of 5 trials already finished")
    found = json.loads((folder / "metrics/repeat/tiny.json").read_text())
    assert list(found["validation_accuracy"]) == ["0", "1", "2", "3", "4"]
    assert found["low"] < found["mean"] < found["high"]
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"tiny: mean validation accuracy of 5 seeds {found['mean']:.2%}")


@pytest.mark.usefixtures("folder")
def test_folds_that_cannot_be_are_a_one_line_error():
    assert refusal(repeat, "tiny", "--folds", "5", "--seeds", "10") == (
        "Error: --folds and --seeds exclude each other; repeat needs one of them"
    )
    assert "variant must be one of " in refusal(repeat, "deep", "--folds", "5")
    assert refusal(repeat, "tiny", "--folds", "601") == (
        "Error: --folds must be at most 600, the number of training and validation images, got 601"
    )
    change("shuffle_buffer", 100)
    assert refusal(repeat, "tiny", "--folds", "5") == (
        "Error: shuffle_buffer must be all with --folds, because folds are not read from a file, "
        "got 100"
    )
    Path("data/splits/validation.parquet").unlink()
    assert "validation.parquet does not exist; make it with" in refusal(repeat, "tiny", "--folds=5")


@pytest.mark.slow
def test_folds_are_stored_beside_repeats_and_summarised_in_one_line(folder):
    change("variants.tiny.epochs", 4)
    change("variants.tiny.batch_size", 20)
    result = shell(sys.executable, "-m", "stages.repeat", "tiny", "--folds", "4")
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (folder / "metrics/repeat").iterdir()] == ["tiny.folds.json"]
    found = json.loads((folder / "metrics/repeat/tiny.folds.json").read_text())
    assert list(found["validation_accuracy"]) == ["1", "2", "3", "4"]
    assert found["pooled_low"] < found["pooled"] < found["pooled_high"]
    last = result.stdout.splitlines()[-1]
    assert last.startswith(f"tiny: mean validation accuracy of 4 folds {found['mean']:.2%}, ")
    assert "; of all 600 images " in last


@pytest.mark.slow
def test_dvc_runs_the_sweep_only_on_request(folder):
    environment = {"DVC_NO_ANALYTICS": "1"}
    assert shell("git", "init", "-q").returncode == 0
    asked = shell("dvc", "repro", "sweep/dvc.yaml", **environment)
    assert asked.returncode == 0, asked.stderr
    stages = [line for line in asked.stdout.splitlines() if line.startswith("Running stage")]
    assert stages == [
        "Running stage 'download':",
        "Running stage 'convert':",
        "Running stage 'split':",
        "Running stage 'sweep/dvc.yaml:sweep':",
    ]
    assert (folder / "sweep/dvc.lock").exists()
    again = shell("dvc", "repro", "sweep/dvc.yaml", **environment)
    assert again.stdout.endswith("Data and pipelines are up to date.\n")
    plain = shell("dvc", "repro", "--dry", "--force", **environment)
    assert "Running stage 'split'" in plain.stdout, plain.stderr
    assert "sweep" not in plain.stdout
