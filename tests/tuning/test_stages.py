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
    assert not [*Path("plots").iterdir(), *Path("metrics").rglob("*.json")]
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


@pytest.mark.usefixtures("folder")
def test_variants_that_cannot_be_paired_are_a_one_line_error():
    assert refusal(repeat, "tiny", "tiny") == (
        "Error: repeat takes one variant or two different ones, got tiny tiny"
    )
    assert refusal(repeat, "tiny", "large", "distorted").startswith("Error: repeat takes one")
    assert refusal(repeat, "tiny", "large", "--folds", "5") == (
        "Error: --folds takes one variant, got tiny large"
    )
    assert "variant must be one of " in refusal(repeat, "tiny", "deep")
    for command in (repeat, sweep):
        assert refusal(command, "tiny", "--dataset", "gone") == (
            "Error: --dataset must be one of mnist-5k, mnist, fashion-mnist, kmnist, qmnist, "
            "emnist-digits, emnist-letters, got gone"
        )


@pytest.mark.long
def test_two_variants_are_paired_by_seed(folder):
    for variant in ("tiny", "one_hidden"):
        change(f"variants.{variant}.epochs", 3)
        change(f"variants.{variant}.batch_size", 20)
    result = shell(sys.executable, "-m", "stages.repeat", "one_hidden", "tiny", "--seeds", "3")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in (folder / "metrics/repeat").glob("*.json")) == [
        "one_hidden.json", "one_hidden.vs.tiny.json", "tiny.json",
    ]  # fmt: skip
    assert (folder / "plots/repeat/one_hidden.vs.tiny.png").exists()
    found = json.loads((folder / "metrics/repeat/one_hidden.vs.tiny.json").read_text())
    alone = [
        json.loads((folder / f"metrics/repeat/{name}.json").read_text())["validation_accuracy"]
        for name in ("one_hidden", "tiny")
    ]
    assert found["pairs"] == {seed: [alone[0][seed], alone[1][seed]] for seed in ("0", "1", "2")}
    last = result.stdout.splitlines()[-1]
    assert last.startswith(
        f"one_hidden minus tiny: {100 * found['difference']:+.2f} percentage points"
    )
    assert last.endswith(("more than luck", "may be luck"))


@pytest.mark.long
def test_another_dataset_is_split_in_a_folder_of_its_own(folder):
    change("variants.tiny.epochs", 2)
    before = (folder / "data/splits/train.parquet").read_bytes()
    dataset = {
        "source": "embedded", "test_size": 1000, "validation_size": 600,
        "class_names": list("0123456789"), "checksums": {}, "pictures": "digit",
    }  # fmt: skip
    with changed_params(folder) as params:
        params["datasets"]["other"] = dataset
    command = (sys.executable, "-m", "stages.repeat", "tiny", "--seeds", "2", "--dataset", "other")
    result = shell(*command)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[:3] == ["other: download", "other: convert", "other: split"]
    found = json.loads((folder / "metrics/repeat/other/tiny.json").read_text())
    assert found["dataset"] == "other"
    assert (folder / "data/splits/train.parquet").read_bytes() == before
    assert "other: download" not in shell(*command).stdout
    change("datasets.other.validation_size", 4999)
    failed = shell(*command)
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: other, split: datasets.other.validation_size must be ")


@pytest.mark.slow
def test_folds_are_stored_beside_repeats_and_summarised_in_one_line(folder):
    change("variants.tiny.epochs", 4)
    change("variants.tiny.batch_size", 20)
    result = shell(sys.executable, "-m", "stages.repeat", "tiny", "--folds", "4")
    assert result.returncode == 0, result.stderr
    assert [path.name for path in (folder / "metrics/repeat").glob("*.json")] == ["tiny.folds.json"]
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
