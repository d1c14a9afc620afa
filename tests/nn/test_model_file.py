import io
import json
import subprocess
import zipfile
from contextlib import suppress

import numpy as np
import pytest

from pipeline.base.errors import ModelError
from pipeline.base.params import VariantSettings
from pipeline.datasets.normalization import Normalization
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.network import Architecture, Network
from pipeline.nn.training import make_network
from tests.damage import flipped_bits
from tests.refusal import refused


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


def normalized(path, **statistics):
    return described(path, normalization={"method": "standardize"} | statistics)


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
            "pictures must be one of 'digit' or 'as_is', got 'round'",
        ),
        (
            lambda path: rewrite(
                path, {"model.json": described(path, reference={"images": 3, "least": 2})}
            ),
            r"reference.least must be <= 1, got 2",
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
        (
            lambda path: rewrite(
                path,
                {
                    "model.json": described(
                        path,
                        architecture={
                            "sizes": [785, 3],
                            "activation": "relu",
                            "output": "softmax",
                            "loss": "cross_entropy",
                        },
                    )
                },
            ),
            "must take 784 inputs, one per pixel, got 785",
        ),
        (
            lambda path: rewrite(path, {"model.json": normalized(path, mean=0.1, std=1e-320)}),
            "by a mean from 0 to 1 and a std from 1e-12 to 1, got 0.1 and 1e-320",
        ),
        (
            lambda path: rewrite(path, {"model.json": normalized(path, mean=0.5, std=1.0000001)}),
            "by a mean from 0 to 1 and a std from 1e-12 to 1, got 0.5 and 1.0000001",
        ),
        (
            lambda path: rewrite(path, {"model.json": normalized(path, mean=1.1, std=0.5)}),
            "by a mean from 0 to 1 and a std from 1e-12 to 1, got 1.1 and 0.5",
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
        (
            lambda path: rewrite(path, {"model.json": bytes(2**20 + 1)}),
            "model.json must have at most 1048576 bytes, got 1048577",
        ),
    ],
)
def test_any_other_file_is_a_one_line_error_that_names_it(path, spoil, rule):
    spoil(path)
    with refused(path, error=ModelError, match=rule):
        load_model(path)


@pytest.mark.parametrize(("sizes", "fits"), [(102, True), (103, False), (1, False), (2, True)])
def test_a_model_has_from_2_to_102_layer_sizes(tmp_path, sizes, fits):
    architecture = Architecture((784, *[1] * (sizes - 1)), "relu", "softmax", "cross_entropy")
    ones = {name: np.ones(of, np.float32) for name, of in architecture.parameter_shapes().items()}
    names, scale = ("a",) * architecture.sizes[-1], Normalization("scale", 0.0, 1.0)
    save_model(tmp_path / "m.npz", Model("m", Network(architecture, ones), scale, names, {}))
    if fits:
        assert load_model(tmp_path / "m.npz").network.architecture == architecture
    else:
        with refused(error=ModelError, match="must have from 2 to 102 layer sizes > 0"):
            load_model(tmp_path / "m.npz")


def test_a_model_with_a_bit_flipped_is_the_same_model_or_a_one_line_error(tmp_path):
    architecture = Architecture((784, 1), "relu", "softmax", "cross_entropy")
    ones = {name: np.ones(of, np.float32) for name, of in architecture.parameter_shapes().items()}
    scale = Normalization("scale", 0.0, 1.0)
    path = tmp_path / "small.npz"
    save_model(path, Model("small", Network(architecture, ones), scale, ("a",), {}))
    bits = 8 * path.stat().st_size
    directory = 8 * path.read_bytes().index(b"PK\1\2")
    # The content of entries has a checksum, so some of its bits stand for all.
    for _ in flipped_bits(path, [*range(0, directory, 7), *range(directory, bits)]):
        with suppress(ModelError):
            loaded = load_model(path)
            assert loaded.network.architecture == architecture
            assert (loaded.normalization, loaded.class_names) == (scale, ("a",))
            for name, array in loaded.network.parameters.items():
                np.testing.assert_array_equal(array, ones[name])
