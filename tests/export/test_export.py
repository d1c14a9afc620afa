"""Exported files compute what the model computes, and the card says only what was measured."""

import json
import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from click.testing import CliRunner
from safetensors import safe_open

from pipeline.__main__ import main
from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.export.card import card_text
from pipeline.export.onnx import onnx_bytes
from pipeline.export.safetensors import safetensors_bytes
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.network import Network
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.training import make_network
from tests.reviewed import check_drawn
from tests.splits import CLASSES, SCALE, write_splits
from tests.training import trained

STANDARD = Normalization("standardize", 0.1307, 0.3081)
NETWORKS = {
    "relu": (SCALE, {"hidden": [30, 20]}),
    "tanh": (STANDARD, {"hidden": [25], "activation": "tanh"}),
    "no hidden layer": (SCALE, {"hidden": []}),
    "sigmoid": (
        STANDARD,
        {
            "hidden": [20], "activation": "sigmoid", "output": "sigmoid",
            "loss": "mean_squared_error",
        },
    ),
    "softmax, squared": (SCALE, {"hidden": [20], "loss": "mean_squared_error"}),
}  # fmt: skip


def model_of(normalization, options):
    settings = VariantSettings(lr=0.1, batch_size=64, epochs=1, **options)
    network, _ = make_network(settings, 10, 0)
    return Model("a", network, normalization, CLASSES, {"settings": settings.model_dump()})


def run(content, images):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"images": images.astype(np.float32)})
    return found


@pytest.mark.parametrize(("normalization", "options"), NETWORKS.values(), ids=NETWORKS)
def test_onnx_runtime_computes_the_models_probabilities(few_digits, normalization, options):
    model = model_of(normalization, options)
    expected = predict_probabilities(model, normalization.apply(few_digits.images))
    found = run(onnx_bytes(model), few_digits.images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert run(onnx_bytes(model), few_digits.images[:1]).shape == (1, 10)


def test_onnx_gives_equal_shares_where_all_sigmoids_are_silent(few_digits):
    model = model_of(*NETWORKS["sigmoid"])
    parameters = {name: np.zeros_like(each) for name, each in model.network.parameters.items()}
    parameters["layer2.bias"] -= 1000
    silent = replace(model, network=Network(model.network.architecture, parameters))
    np.testing.assert_allclose(run(onnx_bytes(silent), few_digits.images[:3]), 0.1)


def test_onnx_names_classes_and_training_and_is_the_same_each_time():
    model = replace(model_of(*NETWORKS["relu"]), versions={"handwritten-digits": "1.2"})
    content = onnx_bytes(model)
    assert content == onnx_bytes(model)
    read = onnx.load_from_string(content)
    assert (read.producer_name, read.producer_version) == ("handwritten-digits", "1.2")
    assert read.graph.name == model.variant
    properties = {each.key: each.value for each in read.metadata_props}
    assert json.loads(properties["class_names"]) == list(CLASSES)
    assert json.loads(properties["training"]) == model.training
    assert properties["pictures"] == "digit"


def test_safetensors_have_the_weights_and_the_description_of_the_model(tmp_path):
    model = model_of(*NETWORKS["tanh"])
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors_bytes(model))
    assert safetensors_bytes(model) == path.read_bytes()
    with safe_open(path, "np") as file:
        assert set(file.keys()) == set(model.network.parameters)
        for name, parameter in model.network.parameters.items():
            np.testing.assert_array_equal(file.get_tensor(name), parameter)
        described = json.loads(file.metadata()["model.json"])
    assert described["normalization"] == {"method": "standardize", "mean": 0.1307, "std": 0.3081}


@pytest.fixture
def folder(digits, tmp_path, monkeypatch):
    """A folder with splits of real digits and a model trained on them."""
    monkeypatch.chdir(tmp_path)
    rows = np.random.default_rng(0).permutation(5000)
    splits = write_splits(
        tmp_path / "data/splits", digits, {"train": rows[:2000], "test": rows[2000:3000]}
    )
    pair = splits["train"].inputs, splits["train"].labels
    settings = VariantSettings(hidden=[20], lr=0.1, momentum=0.9, batch_size=64, epochs=3)
    network, _ = trained(settings, pair, pair)
    training = {"dataset": "mnist-5k", "source": "a test", "settings": settings.model_dump()}
    save_model(tmp_path / "model.npz", Model("a|b", network, SCALE, CLASSES, training))
    return tmp_path


def exported(*arguments):
    return CliRunner().invoke(main, ["export", "model.npz", *arguments])


def test_the_model_card_tells_training_accuracy_and_the_most_frequent_mistakes(folder, digits):
    result = exported("--onnx", "out/a.onnx", "--safetensors", "out/a.safetensors")
    assert result.exit_code == 0, result.output
    assert result.output.splitlines() == [
        "saved out/a.onnx", "saved out/a.safetensors", "saved out/a.md",
    ]  # fmt: skip
    card = (folder / "out/a.md").read_text()
    assert card.startswith("# a\\|b\n")
    assert "Files: `a.onnx`, `a.safetensors`." in card
    assert "| lr | 0.1 |" in card
    test = digits.take(np.random.default_rng(0).permutation(5000)[2000:3000])
    predicted = run((folder / "out/a.onnx").read_bytes(), test.images).argmax(axis=1)
    assert f"{(predicted == test.labels).mean():.2%} of 1,000 test images of mnist-5k" in card
    assert card.count(" read as ") == 5
    as_is = replace(load_model(folder / "model.npz"), pictures="as_is")
    check_drawn("export", {"card": card, "as it is": card_text(as_is, ["a.onnx"], None)})


def test_a_card_has_no_accuracy_on_images_of_another_dataset(folder):
    for path in (folder / "data/splits").iterdir():
        path.unlink()
    result = exported("--onnx", "a.onnx")
    assert result.exit_code == 0
    assert "Warning: the model card has no accuracy: data/splits/test.parquet does" in result.stderr
    assert "Not measured" in (folder / "a.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "export needs --onnx FILE, --safetensors FILE or both"),
        (["--onnx", "a", "--safetensors", "a"], "must name two files, got a for both"),
        (["--onnx", "a.md"], "a.md must not end in .md"),
    ],
)
def test_a_wrong_export_is_one_line_and_writes_nothing(folder, arguments, message):
    result = exported(*arguments)
    assert result.exit_code == 1
    assert message in result.stderr
    assert {path.name for path in folder.iterdir()} == {"data", "model.npz"}


@pytest.mark.parametrize("package", ["onnx", "safetensors"])
def test_a_missing_package_is_named_with_the_command_that_installs_it(folder, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.numpy", None)
    result = exported("--onnx", "a.onnx", "--safetensors", "a.safetensors")
    assert result.exit_code == 1
    assert f"needs {package}, not installed: pip install -e '.[export]'" in result.stderr
    assert {path.name for path in folder.iterdir()} == {"data", "model.npz"}
