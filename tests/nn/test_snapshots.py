"""Snapshots show a training as it was, whatever interrupts it, and do not change it."""

import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.params import VariantSettings
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.nn.checkpoint import Checkpoint
from pipeline.nn.devices import CPU
from pipeline.nn.snapshot_file import LEVELS, Moments, as_levels, load_moments, save_moments
from pipeline.nn.snapshots import COUNT, NEURONS, Snapshots, followed_images, snapshot_epochs
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Training, make_network
from tests.refusal import refused
from tests.training import held

KINDS = {
    "as usual": {},
    "best epoch": {"optimizer": "adam", "lr": 0.05, "keep": "best"},
    "stopped early": {"optimizer": "adam", "lr": 0.1, "keep": "best", "patience": 2, "epochs": 60},
    "without hidden layers": {"hidden": []},
    "with dropout": {"dropout": 0.3, "augment": {"rotate": 10.0}},
}
SCALE = Normalization("scale", 0.0, 1.0)


def settings_of(**changes):
    return VariantSettings(
        **({"hidden": [40, 16], "lr": 0.1, "batch_size": 32, "epochs": 7} | changes)
    )


@pytest.fixture(scope="module")
def examples(few_digits):
    description = Description("mnist-5k", tuple("0123456789"), "a test")
    return Examples(SCALE.apply(few_digits.images), few_digits.labels, description, SCALE)


@pytest.fixture
def start(examples):
    """A function that starts a training run, with snapshots unless told otherwise."""

    def begin(settings, *, seen=True):
        network, rng = make_network(settings, 10, 0)
        engine = CPU.engine(network, settings, threads=1)
        images = held(engine, (examples.inputs, examples.labels))
        snapshots = Snapshots(examples, settings.epochs) if seen else None
        return Training(engine, settings, HeldImages(images), images, rng, snapshots), snapshots

    return begin


def finished(run):
    training, snapshots = run
    for _ in training.epochs():
        pass
    return training, snapshots.moments(training.kept)


def arrays_of(moments):
    return {field.name: getattr(moments, field.name).tobytes() for field in fields(Moments)}


@given(st.integers(1, 100_000))
def test_snapshots_are_spread_by_logarithm_from_the_initial_network_to_the_last_epoch(epochs):
    found = snapshot_epochs(epochs)
    assert found[:2] == (0, 1)
    assert found[-1] == epochs
    assert list(found) == sorted(set(found))
    assert len(found) <= COUNT + 1
    gaps = np.diff(found[1:])
    assert (np.diff(gaps) >= -1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_each_moment_has_the_accuracy_that_the_training_reported(kind, start):
    training, moments = finished(start(settings_of(**KINDS[kind])))
    assert len(moments) >= 7
    for epoch, accuracy in zip(moments.epochs[1:], moments.accuracies[1:], strict=True):
        assert accuracy == training.reports[epoch - 1].validation.accuracy
    assert (moments.confusion.sum(axis=(1, 2)) == 200).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_is_the_same_with_and_without_snapshots(kind, start):
    settings = settings_of(**KINDS[kind])
    seen, _ = start(settings)
    unseen, _ = start(settings, seen=False)
    assert list(seen.epochs()) == list(unseen.epochs())
    one, other = (training.state().parameters for training in (seen, unseen))
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("epochs", [1, 4, 7])
def test_a_resumed_run_has_the_same_snapshots_as_an_uninterrupted_one(
    kind, epochs, start, tmp_path
):
    settings = settings_of(**KINDS[kind])
    checkpoint = Checkpoint("some", "0" * 64, pytest.fail, tmp_path, every=0)
    interrupted, _ = start(settings)
    for _ in zip(range(epochs), interrupted.epochs(), strict=False):
        checkpoint.save(interrupted)
    again = start(settings)
    checkpoint.resume(again[0])
    assert len(again[0].reports) == epochs
    _, whole = finished(start(settings))
    assert arrays_of(finished(again)[1]) == arrays_of(whole)


@pytest.mark.parametrize("missing", ["all", "one", "a part", "of a later epoch", "of another size"])
def test_a_checkpoint_whose_snapshots_do_not_fit_is_ignored(missing, start, tmp_path):
    settings, told = settings_of(), []
    checkpoint = Checkpoint("some", "0" * 64, told.append, tmp_path, every=0)
    interrupted, snapshots = start(settings)
    next(interrupted.epochs())
    kept = dict(snapshots.state())
    changes = {
        "all": lambda: kept.clear(),
        "one": lambda: [kept.pop(name) for name in list(kept) if name.startswith("1.")],
        "a part": lambda: kept.pop("1.confusion"),
        "of a later epoch": lambda: kept.update(
            {name.replace("1.", "5.", 1): kept[name] for name in list(kept) if name[0] == "1"}
        ),
        "of another size": lambda: kept.update({"1.filters": kept["1.filters"][:3]}),
    }
    changes[missing]()
    state = interrupted.state()
    interrupted.state = lambda: replace(state, snapshots=kept)
    checkpoint.save(interrupted)
    again, _ = start(settings)
    checkpoint.resume(again)
    assert again.reports == []
    assert len(told) == 1
    assert "is damaged and ignored; training starts from the beginning" in told[0]
    assert arrays_of(finished((again, _))[1]) == arrays_of(finished(start(settings))[1])


def test_the_epoch_kept_and_the_last_one_are_among_the_moments(start):
    training, moments = finished(start(settings_of(**KINDS["stopped early"])))
    ran = len(training.reports)
    assert ran < 60
    assert training.kept == ran - 2
    assert moments.epochs[-1] == ran
    assert moments.epochs[moments.last] == moments.kept == training.kept
    weight = training.state().parameters["layer1.weight"][:, moments.neurons].T
    error = np.abs(moments.filters[moments.last] - weight).max(axis=1)
    assert (error <= 0.51 * (moments.initial_scales + moments.change_scales)).all()


def test_the_neurons_kept_are_those_that_changed_most(start):
    _, moments = finished(start(settings_of()))
    change = np.linalg.norm(moments.filters[moments.last] - moments.filters[0], axis=1)
    assert len(change) == NEURONS
    assert (np.diff(change) < 1e-2 * change[0]).all()
    assert (moments.neurons < 128).all()


def test_activations_are_those_of_the_last_hidden_layer(start, examples):
    training, moments = finished(start(settings_of()))
    network = training.state().parameters
    rows = followed_images(examples.labels, 10)
    value = examples.inputs[rows].astype(np.float64)
    for number in (1, 2):
        weight, bias = (network[f"layer{number}.{name}"] for name in ("weight", "bias"))
        value = np.maximum(value @ weight + bias, 0)
    shown = moments.activations[moments.last] * moments.activation_scales
    assert np.abs(shown - value).max() <= moments.activation_scales.max()
    pixels = (255 * examples.inputs[rows]).round().astype(np.uint8)
    assert (moments.images.reshape(20, 784) == pixels).all()
    assert moments.labels.tolist() == [label for label in range(10) for _ in range(2)]


def test_the_images_followed_are_the_first_of_each_class():
    labels = np.array([2, 0, 1, 0, 2, 0, 1], np.uint8)
    assert followed_images(labels, 3).tolist() == [1, 3, 5, 2, 6, 0, 4]
    assert followed_images(labels, 30).tolist() == [1, 2, 0]
    many = np.repeat(np.arange(47, dtype=np.uint8), 3)
    assert followed_images(many, 47).tolist() == list(range(0, 60, 3))


@given(st.integers(0, 2**32))
def test_levels_are_right_to_half_a_step(seed):
    values = np.random.default_rng(seed).normal(size=(3, 5, 4)) * np.array(
        [[0], [1], [1e-9], [1e9], [-1]]
    )
    levels, scales = as_levels(values, axis=1)
    assert np.abs(levels).max(axis=(0, 2)).tolist() == [0, *[LEVELS] * 4]
    scales = scales[:, np.newaxis]
    assert (np.abs(levels * scales - values) <= 0.5001 * scales).all()


@given(st.integers(0, 2**32))
def test_levels_do_not_show_the_last_bit_of_a_value(seed):
    values = np.random.default_rng(seed).normal(size=(3, 5, 4))
    one = as_levels(values, axis=2)
    for towards in (np.inf, -np.inf):
        other = as_levels(np.nextafter(values, towards), axis=2)
        assert [part.tobytes() for part in other] == [part.tobytes() for part in one]


def test_a_file_gives_back_what_was_written_and_always_the_same_bytes(start, tmp_path):
    _, moments = finished(start(settings_of()))
    for name in ("one", "other"):
        save_moments(tmp_path / f"{name}.npz", moments)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "other.npz").read_bytes()
    assert arrays_of(load_moments(tmp_path / "one.npz")) == arrays_of(moments)
    with zipfile.ZipFile(tmp_path / "one.npz") as archive:
        headers = {(info.extract_version, info.extra) for info in archive.infolist()}
    assert headers == {(20, b"")}  # those of large files differ between versions of Python


def without(name):
    return lambda arrays: arrays.pop(name)


def replaced(name, value):
    return lambda arrays: arrays.update({name: value})


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (without("changes"), "is not a file of moments"),
        (replaced("changes", np.zeros((1, 2, 784), np.int8)), "changes must be int8 of shape"),
        (replaced("epochs", np.zeros(0, np.int64)), "changes must be int8 of shape"),
        (replaced("labels", np.zeros(20, np.float32)), "labels must be uint8 of shape"),
        (replaced("kept", np.array(9)), "epochs must include the epoch kept, 9"),
        (replaced("confusion", np.array(6)), "probabilities must be|confusion must be"),
        (replaced("epochs", np.array([None] * 8)), "is not a file of moments"),
    ],
)
def test_a_file_that_cannot_be_is_refused_in_one_line(change, rule, start, tmp_path):
    _, moments = finished(start(settings_of(epochs=8)))
    arrays = dict(vars(moments))
    change(arrays)
    path = tmp_path / "some.npz"
    np.savez(path, **arrays)
    with refused(path, match=rule):
        load_moments(path)


@pytest.mark.parametrize("content", [b"", b"moments", b"PK\x03\x04 cut"])
def test_what_is_no_archive_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "some.npz"
    with refused(match="does not exist; write it with `dvc repro`"):
        load_moments(path)
    with refused(match="cannot be read: Is a directory"):
        load_moments(tmp_path)
    path.write_bytes(content)
    with refused(match=r"some\.npz is not a file of"):
        load_moments(path)
