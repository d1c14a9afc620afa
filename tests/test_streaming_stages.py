"""The stages train and evaluate on images that stay on disk."""

import re

import numpy as np
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from pipeline.base.files import read_json
from pipeline.datasets import pixel_file
from pipeline.nn.model_file import load_model
from stages import evaluate as evaluate_stage
from stages import train as train_stage
from tests.conftest import ROOT
from tests.splits import write_splits


@pytest.fixture
def folder(tmp_path, digits, monkeypatch):
    """A folder with splits of real digits, 3,000 to train on in row groups of 500."""
    rows = np.random.default_rng(0).permutation(5000)
    monkeypatch.setattr(pixel_file, "ROW_GROUP", 500)
    parts = {"train": rows[:3000], "validation": rows[3000:3500], "test": rows[4000:]}
    write_splits(tmp_path / "data/splits", digits, parts)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def set_params(folder, **changes):
    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    params.update({"epochs": 2} | changes)
    yaml.dump(params, folder / "params.yaml")


def run(stage, variant="two_hidden"):
    result = CliRunner().invoke(stage.main, [variant])
    assert result.exit_code == 0, result.output
    return result.output


def test_training_from_disk_is_accurate_recorded_and_reproducible(folder):
    accuracies, models = {}, {}
    for buffer in ("all", 1000, 1000):
        set_params(folder, shuffle_buffer=buffer)
        assert "two_hidden: 3000 images on cpu" in run(train_stage)
        run(evaluate_stage)
        content = (folder / "models/two_hidden.npz").read_bytes()
        assert models.setdefault(buffer, content) == content
        training = load_model(folder / "models/two_hidden.npz").training
        assert training.get("shuffle_buffer", "all") == buffer
        assert training["images"] == 3000
        accuracies[buffer] = read_json(folder / "metrics/variants/two_hidden.json")
    assert models["all"] != models[1000]
    for name in ("train_accuracy", "validation_accuracy", "test_accuracy"):
        assert accuracies[1000][name] == pytest.approx(accuracies["all"][name], abs=0.05)
        assert accuracies[1000][name] > 0.8


def test_train_limit_applies_on_disk_too(folder):
    set_params(folder, shuffle_buffer=100)
    assert "small_batch: 400 images" in run(train_stage, "small_batch")
    run(evaluate_stage, "small_batch")
    assert read_json(folder / "metrics/variants/small_batch.json")["train_images"] == 400


def files(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(folder, stage, variant):
    """Run a stage that must fail without changing any file, and return its error line."""
    before = files(folder)
    result = CliRunner().invoke(stage.main, [variant])
    assert result.exit_code == 1
    assert files(folder) == before
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)
    return result.stderr


def test_a_full_batch_larger_than_the_buffer_is_refused_in_one_line(folder):
    set_params(folder, shuffle_buffer=1000)
    line = refused(folder, train_stage, "full_batch")
    assert "batch_size must be at most shuffle_buffer, 1000, got all 3000 images" in line


@pytest.mark.parametrize("buffer", ["all", 600])
def test_damaged_images_are_reported_in_one_line_and_the_earlier_model_is_kept(folder, buffer):
    set_params(folder, shuffle_buffer=buffer)
    run(train_stage)
    path = folder / "data/splits/train.parquet"
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(500) + content[middle + 500 :])
    for stage in (train_stage, evaluate_stage):
        line = refused(folder, stage, "two_hidden")
        assert "data/splits/train.parquet is not a Parquet file of images" in line
