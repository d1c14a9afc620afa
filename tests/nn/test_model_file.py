import io
import json
import subprocess
import zipfile

import numpy as np
import pytest

from pipeline.base.errors import ModelError
from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.training import make_network


@pytest.fixture
def model():
    settings = VariantSettings(hidden=[5, 4], lr=0.1, batch_size=8, epochs=1)
    network, _ = make_network(settings, 3, 0)
    training = {"settings": settings.model_dump(), "seed": 0}
    normalization = Normalization("standardize", 0.13, 0.31)
    return Model("small", network, normalization, ("a", "b", "c"), training, "as_is")


@pytest.fixture
def path(model, tmp_path):
    path = tmp_path / "small.npz"
    save_model(path, model)
    return path


def rewrite(path, changes):
    """Replace, add or (None) remove entries of a model file."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries |= changes
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            if content is not None:
                archive.writestr(name, content)


def described(path, **changes):
    with zipfile.ZipFile(path) as archive:
        return json.dumps(json.loads(archive.read("model.json")) | changes).encode()


def array_bytes(array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


def test_a_loaded_model_equals_the_saved_one(model, path):
    loaded = load_model(path)
    assert loaded.network.architecture == model.network.architecture
    assert loaded.normalization == model.normalization
    assert (loaded.variant, loaded.class_names) == ("small", ("a", "b", "c"))
    assert (loaded.training, loaded.pictures) == (model.training, "as_is")
    for name, parameter in model.network.parameters.items():
        np.testing.assert_array_equal(loaded.network.parameters[name], parameter)


def test_the_same_model_gives_the_same_bytes(model, path, tmp_path):
    save_model(tmp_path / "again.npz", model)
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_plain_numpy_and_unzip_can_read_a_model_file(model, path):
    with np.load(path, allow_pickle=False) as arrays:
        np.testing.assert_array_equal(
            arrays["layer1.weight"], model.network.parameters["layer1.weight"]
        )
    shown = subprocess.run(
        ["unzip", "-p", path, "model.json"], capture_output=True, check=True, text=True
    ).stdout
    assert json.loads(shown)["versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    ("spoil", "rule"),
    [
        (lambda path: path.unlink(), "does not exist"),
        (lambda path: path.write_bytes(b""), "is not a model file"),
        (lambda path: path.write_text("hello"), "is not a model file"),
        (lambda path: path.write_bytes(path.read_bytes()[:300]), "is not a model file"),
        (lambda path: np.savez(path, weight=np.ones(3)), "it has no model.json"),
        (lambda path: rewrite(path, {"model.json": b"{"}), "invalid model.json"),
        (lambda path: rewrite(path, {"model.json": b"[]"}), "invalid model.json"),
        (lambda path: rewrite(path, {"model.json": described(path, format=9)}), "format 2, got 9"),
        (
            lambda path: rewrite(path, {"model.json": described(path, format=1)}),
            "format 2, got 1; train it again with: dvc repro",
        ),
        (
            lambda path: rewrite(path, {"model.json": described(path, pictures="round")}),
            "must use one of digit, as_is, got round",
        ),
        (
            lambda path: rewrite(
                path, {"model.json": described(path, reference={"images": 3, "least": 2})}
            ),
            "has a reference that cannot be: 3 images, least 2",
        ),
        (
            lambda path: rewrite(
                path, {"model.json": described(path, reference={"images": 3, "least": 0.5})}
            ),
            "it has no reference.images",
        ),
        (
            lambda path: rewrite(path, {"model.json": described(path, class_names=["a"])}),
            "must name 3 classes, one per output, got 1",
        ),
        (
            lambda path: rewrite(
                path,
                {
                    "model.json": described(
                        path,
                        architecture={
                            "sizes": [784, 5, 4, 3],
                            "activation": "gelu",
                            "output": "softmax",
                            "loss": "cross_entropy",
                        },
                    )
                },
            ),
            "must use one of relu, sigmoid, tanh, softmax, got gelu",
        ),
        (lambda path: rewrite(path, {"layer2.bias.npy": None}), "it has no layer2.bias.npy"),
        (
            lambda path: rewrite(path, {"layer2.bias.npy": array_bytes(np.ones(5, "f4"))}),
            r"layer2.bias must be float32 of shape \(4,\), got float32 of \(5,\)",
        ),
        (
            lambda path: rewrite(path, {"layer2.bias.npy": array_bytes(np.ones(4))}),
            "layer2.bias must be float32",
        ),
        (
            lambda path: rewrite(
                path, {"layer2.bias.npy": array_bytes(np.array([1, 2, 3, np.nan], "f4"))}
            ),
            "layer2.bias must hold finite numbers only",
        ),
        (
            lambda path: rewrite(
                path,
                {"layer2.bias.npy": array_bytes(np.array([{}] * 4), allow_pickle=True)},
            ),
            r"layer2.bias must be float32 of shape \(4,\), got object",
        ),
        (
            lambda path: rewrite(path, {"layer2.bias.npy": bytes(10_000)}),
            "layer2.bias.npy must have at most 1040 bytes, got 10000",
        ),
    ],
)
def test_any_other_file_is_a_one_line_error_that_names_it(path, spoil, rule):
    spoil(path)
    with pytest.raises(ModelError, match=rule) as refused:
        load_model(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
