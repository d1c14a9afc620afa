"""Extreme settings and data train, or stop with one line; no file contains NaN."""

import csv
import json
import math

import click
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.base.command import Command
from pipeline.datasets.images import LabelledImages
from pipeline.nn.activations import sigmoid, softmax
from pipeline.nn.losses import cross_entropy, mean_squared_error
from stages.convert import main as convert
from stages.evaluate import main as evaluate
from stages.split import main as split
from stages.train import main as train
from stages.visualize import main as visualize
from tests.conftest import shipped_params, write_params
from tests.layouts import idx_files, write_files

SIGMOID = {"activation": "sigmoid", "output": "sigmoid", "loss": "mean_squared_error"}
PARTS = {
    "class_names": [f"class {number}" for number in range(10)],
    "source": "embedded",
    "pictures": "digit",
    "checksums": {},
}
PARTS |= {"validation_size": 30, "test_size": 40, "checksums": {}}


def prepare(folder, monkeypatch, training, testing=None, parts=PARTS, **settings):
    """Write a dataset and settings to an empty folder, and change to it."""
    files = idx_files("train", training) | (idx_files("t10k", testing) if testing else {})
    write_files(folder / "data/raw", files)
    content = shipped_params()
    content |= {"dataset": "mine", "datasets": {"mine": parts}, **settings}
    content["variants"] = {"one": content["variants"]["tiny"] | {"epochs": 2, "batch_size": 32}}
    write_params(folder, content)
    monkeypatch.chdir(folder)
    return content


def stop_of(*stages):
    """Run stages until one stops, and return its line, or None. Warnings are errors here."""
    for stage, *arguments in stages:
        result = CliRunner().invoke(stage, arguments, catch_exceptions=False)
        if result.exit_code:
            assert result.exit_code == 1
            (line,) = result.stderr.splitlines()
            return line
    return None


def assert_all_finite(folder):
    files = [*folder.glob("metrics/**/*.json"), *folder.glob("plots/**/*.csv")]
    assert files
    for path in files:
        if path.suffix == ".json":
            values = json.loads(path.read_text()).values()
        else:
            rows = csv.DictReader(path.read_text().splitlines())
            values = [row[key] for row in rows for key in row if key not in WORDS]
        assert all(math.isfinite(float(value)) for value in values), path


WORDS = {"split", "label", "prediction"}


@pytest.fixture(scope="module")
def splits(few_digits, tmp_path_factory):
    """A folder with 130 digits to train on, 30 to validate and 40 to test."""
    folder = tmp_path_factory.mktemp("splits")
    with pytest.MonkeyPatch.context() as monkeypatch:
        content = prepare(folder, monkeypatch, few_digits)
        assert stop_of([convert], [split]) is None
    return folder, content


TRAINS = {
    "lr 1e6": {"lr": 1e6},
    "lr 1e6, sigmoid": {"lr": 1e6} | SIGMOID,
    "lr 1e6, tanh": {"lr": 1e6, "activation": "tanh"},
    "lr 1e6, momentum": {"lr": 1e6, "momentum": 0.9} | SIGMOID,
    "lr 1e6, adam": {"lr": 1e6, "optimizer": "adam"},
    "lr 1e6, squared error": {"lr": 1e6, "loss": "mean_squared_error"},
    "lr 1e-300": {"lr": 1e-300},
    "clipped to nothing": {"clip_norm": 1e-300, "clip_value": 1e-300},
    "limits of 1e300": {"clip_norm": 1e300, "clip_value": 1e300},
    "batches of 1": {"batch_size": 1},
    "a batch larger than the data": {"batch_size": 10**9},
    "limits larger than the data": {"train_limit": 10**9, "test_sample": 10**9},
    "one image": {"train_limit": 1, "test_sample": 1},
    "one epoch": {"epochs": 1},
    "no hidden layer": {"hidden": []},
    "one neuron": {"hidden": [1]},
    "5,000 neurons": {"hidden": [5000], "epochs": 1},
    "20 layers": {"hidden": [10] * 20},
    "20 layers of one neuron": {"hidden": [1] * 20},
    "20 layers of sigmoids": {"hidden": [10] * 20} | SIGMOID,
    "20 layers of next to nothing": {"hidden": [10] * 20, "initializer": "normal"},
}


@pytest.mark.parametrize("changes", TRAINS.values(), ids=TRAINS)
def test_extreme_settings_train_and_give_finite_metrics(splits, monkeypatch, changes):
    folder, content = splits
    monkeypatch.chdir(folder)
    variant = content["variants"]["one"] | changes
    write_params(folder, content | {"variants": {"one": variant}})
    assert stop_of([train, "one"], [evaluate, "one"]) is None
    assert_all_finite(folder)


STOPS = {
    "lr 1e300": ({"lr": 1e300}, "one: the training cost is nan in epoch 1 with lr 1e+300; a sm"),
    "lr 1e300, clipped": ({"lr": 1e300, "clip_value": 1.0}, "one: the training cost is nan"),
    "l2 1e300": ({"l2": 1e300}, "one: the training cost is nan in epoch 1 with lr 0.1; a smaller"),
    "weights of 1e200": (
        {"lr": 1e200, "optimizer": "adam", "train_limit": 1},
        "one: the validation cost is nan in epoch 1",
    ),
    "a billion neurons": ({"hidden": [10**9]}, "hidden.0 must be <= 1,000,000, got 1000000000"),
    "a trillion parameters": (
        {"hidden": [10**6, 10**6]},
        "hidden makes a network of 1,000,796,000,010 parameters, which needs about 22369 GiB",
    ),
    "1e30 epochs": ({"epochs": 10**30}, "epochs must be <= 1,000,000,000, got 1000000000000000"),
    "batches of 1e30": (
        {"batch_size": 10**30},
        "a whole number from 1 to 1,000,000,000, got 1",
    ),
    "101 layers": ({"hidden": [1] * 101}, "hidden must have at most 100 entries"),
}


@pytest.mark.parametrize(("changes", "line"), STOPS.values(), ids=STOPS)
def test_settings_that_cannot_work_stop_with_one_line(splits, monkeypatch, changes, line):
    folder, content = splits
    monkeypatch.chdir(folder)
    variant = content["variants"]["one"] | changes
    write_params(folder, content | {"variants": {"one": variant}})
    assert line in stop_of([train, "one"])


@pytest.fixture
def silent(splits, monkeypatch):
    """A network whose sigmoids are all exactly 0 after a step of 1e6, whatever the image."""
    folder, content = splits
    monkeypatch.chdir(folder)
    variant = content["variants"]["one"] | TRAINS["lr 1e6, sigmoid"]
    write_params(folder, content | {"variants": {"one": variant}})
    assert stop_of([train, "one"], [evaluate, "one"]) is None
    return folder


def test_a_silent_network_gives_every_class_the_same_probability(silent):
    rows = csv.DictReader((silent / "plots/predictions/one.csv").read_text().splitlines())
    assert {row["confidence"] for row in rows} == {"0.1"}


@pytest.mark.slow
def test_a_silent_network_is_drawn(silent):
    assert stop_of([visualize, "one"]) is None
    assert len(list(silent.glob("plots/figures/one/*.png"))) == 11


def test_lack_of_memory_without_a_reason_is_reported_too():
    @click.command(cls=Command)
    def fills():
        raise MemoryError

    assert stop_of([fills]) == "Error: not enough memory: all of it is in use"


def test_lack_of_memory_is_reported_in_one_line():
    @click.command(cls=Command)
    def main():
        np.ones(1 << 58)

    line = stop_of([main])
    assert line.startswith("Error: not enough memory: Unable to allocate 2.00 EiB")


def of_class(data, *classes):
    return data.take(np.flatnonzero(np.isin(data.labels, classes)))


def black(data):
    return LabelledImages(np.zeros_like(data.images), data.labels)


def first_of_each(data):
    return data.take(np.unique(data.labels, return_index=True)[1])


DATA = {
    "all black": (lambda data: (black(data), None), {}, None),
    "all black, standardized": (
        lambda data: (black(data), None),
        {"normalize": "standardize"},
        "normalize: standardize needs images with more than one grey value",
    ),
    "a class without images": (lambda data: (of_class(data, *range(9)), None), {}, None),
    "classes missing from the test set": (lambda data: (data, of_class(data, 3, 5)), {}, None),
    "one test image": (lambda data: (data, data.take(np.array([7]))), {}, None),
    "one class": (
        lambda data: (of_class(data, 1), None),
        {},
        "must have images of several classes, got only class 1",
    ),
    "one image per class": (
        lambda data: (first_of_each(data), None),
        {},
        "datasets.mine.test_size needs at least 2 images of every class, got 1 of class 0",
    ),
    "one image per class, with a test set": (
        lambda data: (first_of_each(data), data),
        {},
        "datasets.mine.validation_size needs at least 2 images of every class, got 1 of class 0",
    ),
    "a validation part larger than the data": (
        lambda data: (data, None),
        {"parts": PARTS | {"validation_size": 10**9}},
        "datasets.mine.validation_size must be from 10 to 150 for 160 images of 10 classes, got 10",
    ),
}


@pytest.mark.parametrize(("make", "settings", "line"), DATA.values(), ids=DATA)
def test_extreme_data_train_or_stop_with_one_line(
    tmp_path, few_digits, monkeypatch, make, settings, line
):
    prepare(tmp_path, monkeypatch, *make(few_digits), **settings)
    stopped = stop_of([convert], [split], [train, "one"], [evaluate, "one"])
    if line is None:
        assert stopped is None
        assert_all_finite(tmp_path)
    else:
        assert line in stopped
        assert not (tmp_path / "metrics").exists()


logits = arrays.arrays(
    st.sampled_from([np.float32, np.float64]),
    st.tuples(st.integers(1, 5), st.integers(2, 10)),
    elements=st.floats(-1e4, 1e4, width=32),
)


@given(logits, st.integers(0, 1))
def test_logits_up_to_1e4_cause_no_warning_and_no_infinite_number(z, label):
    targets = np.eye(z.shape[1], dtype=z.dtype)[np.full(len(z), label)]
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        for activation in (sigmoid, softmax):
            y, backward = activation(z)
            assert np.isfinite(y).all()
            assert np.isfinite(backward(np.ones_like(y))).all()
            costs, gradient = mean_squared_error(y, targets)
            assert np.isfinite(costs).all()
            assert np.isfinite(gradient).all()
        costs, gradient = cross_entropy(z, targets)
        assert np.isfinite(costs).all()
        assert np.isfinite(gradient).all()
