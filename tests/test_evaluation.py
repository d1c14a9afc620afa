from dataclasses import replace

import numpy as np
import pytest

from pipeline.base.params import VariantSettings
from pipeline.datasets import pixel_file
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.parquet import open_examples, write_examples
from pipeline.evaluation import SHIFTS, evaluate, score_set, shifted_probabilities
from pipeline.nn.devices import CPU
from pipeline.nn.model_file import Model
from pipeline.nn.network import Architecture, Network
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.streaming import hold
from pipeline.nn.training import Score, make_network
from tests.refusal import refused

CLASSES = ("a", "b", "c")
SCALE = Normalization("scale", 0.0, 1.0)


def examples_of(labels, classes=CLASSES, normalization=SCALE):
    """Return images whose first pixels are logits: 5 for the label, 0 for the other classes."""
    inputs = np.zeros((len(labels), 784), np.float32)
    inputs[np.arange(len(labels)), labels] = 5
    description = Description("made", classes, "made")
    return Examples(inputs, np.array(labels, np.uint8), description, normalization)


@pytest.fixture
def model():
    """A network whose logits are the first three pixels of an image."""
    weight = np.zeros((784, 3), np.float32)
    weight[:3] = np.eye(3)
    architecture = Architecture((784, 3), "relu", "softmax", "cross_entropy")
    network = Network(
        architecture, {"layer1.weight": weight, "layer1.bias": np.zeros(3, np.float32)}
    )
    return Model("copy", network, SCALE, CLASSES, {})


def evaluated(model, test, test_sample=None, test_shifts=None):
    right = examples_of([0, 1, 2])
    return evaluate(model, right, right, test, test_sample, test_shifts, CPU)


def mistaken(labels, wrong):
    """Return examples that look like `labels` but have the labels `wrong`."""
    shown = examples_of(labels)
    return Examples(shown.inputs, np.array(wrong, np.uint8), shown.description, SCALE)


def test_metrics_by_hand(model):
    # Shown:  a a b b c c; true: a a b c c c. One of six is wrong.
    metrics, _ = evaluated(model, mistaken([0, 0, 1, 1, 2, 2], [0, 0, 1, 2, 2, 2]))
    right, wrong = -np.log(np.e**5 / (np.e**5 + 2)), -np.log(1 / (np.e**5 + 2))
    assert metrics["test_accuracy"] == pytest.approx(5 / 6, abs=1e-6)
    assert metrics["train_accuracy"] == metrics["validation_accuracy"] == 1
    assert metrics["test_loss"] == pytest.approx((5 * right + wrong) / 6, rel=1e-5)
    assert metrics["test_precision"] == pytest.approx((1 + 1 / 2 + 1) / 3, abs=1e-6)
    assert metrics["test_recall"] == pytest.approx((1 + 1 + 2 / 3) / 3, abs=1e-6)
    assert metrics["test_f1"] == pytest.approx((1 + 2 / 3 + 4 / 5) / 3, abs=1e-6)
    assert (metrics["train_images"], metrics["test_images"]) == (3, 6)
    assert metrics["parameters"] == 784 * 3 + 3


def test_averages_are_over_the_classes_that_occur_as_a_label_or_a_prediction(model):
    # Shown: a a b; true: a b b. There is no c.
    metrics, _ = evaluated(model, mistaken([0, 0, 1], [0, 1, 1]))
    assert metrics["test_precision"] == pytest.approx((1 / 2 + 1) / 2, abs=1e-6)
    assert metrics["test_recall"] == pytest.approx((1 + 1 / 2) / 2, abs=1e-6)
    assert metrics["test_f1"] == pytest.approx(2 / 3, abs=1e-6)
    # Shown: a a c; true: a b b. There is b as a label and c as a prediction only.
    metrics, _ = evaluated(model, mistaken([0, 0, 2], [0, 1, 1]))
    assert metrics["test_precision"] == pytest.approx((1 / 2 + 0 + 0) / 3, abs=1e-6)
    assert metrics["test_recall"] == pytest.approx((1 + 0 + 0) / 3, abs=1e-6)
    assert metrics["test_f1"] == pytest.approx((2 / 3 + 0 + 0) / 3, abs=1e-6)


def test_the_interval_is_wilsons(model):
    metrics, _ = evaluated(model, mistaken([0] * 100, [0] * 90 + [1] * 10))
    z, n, p = 1.959964, 100, 0.9
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert metrics["test_accuracy_low"] == pytest.approx(middle - half, abs=1e-6)
    assert metrics["test_accuracy_high"] == pytest.approx(middle + half, abs=1e-6)


def test_a_test_sample_is_only_the_first_images(model):
    metrics, _ = evaluated(model, mistaken([0, 1, 2, 0], [0, 2, 2, 1]), test_sample=3)
    assert metrics["test_sample_accuracy"] == pytest.approx(2 / 3, abs=1e-6)
    assert metrics["test_sample_images"] == 3
    assert metrics["test_accuracy"] == 0.5


@pytest.mark.parametrize("shifts", [5, 9])
def test_probabilities_can_be_averaged_over_shifts_beside_the_plain_accuracy(shifts, model):
    # A 5 in the second pixel: shifted to the left it is in the first, to the right in the third.
    metrics, _ = evaluated(model, mistaken([1, 1, 0], [1, 1, 0]), test_shifts=shifts)
    plain, _ = evaluated(model, mistaken([1, 1, 0], [1, 1, 0]))
    assert metrics["test_accuracy"] == plain["test_accuracy"] == 1
    assert metrics["test_shifts"] == shifts
    assert {name for name in metrics if "shift" in name} == {"test_shifts", "test_shifts_accuracy"}
    assert not any("shift" in name for name in plain)


def test_shifts_are_none_then_to_the_sides_then_to_the_corners():
    assert len(set(SHIFTS)) == 9
    assert [abs(down) + abs(right) for down, right in SHIFTS] == [0] + [1] * 4 + [2] * 4


def test_shifted_images_are_filled_with_background(model):
    inputs = np.arange(2 * 784, dtype=np.float32).reshape(2, 784) % 251 / 255
    examples = replace(examples_of([0, 1]), inputs=inputs)
    engine = CPU.engine(model.network)
    for down, right in SHIFTS:
        moved = np.roll(inputs.reshape(2, 28, 28), (down, right), axis=(1, 2))
        moved[:, {1: 0, -1: 27}.get(down, slice(0))] = 0
        moved[:, :, {1: 0, -1: 27}.get(right, slice(0))] = 0
        expected = predict_probabilities(model, moved.reshape(2, 784), engine)
        found = shifted_probabilities(model, examples, [(down, right)], engine)
        np.testing.assert_array_equal(found, expected)


def test_without_a_test_sample_there_is_no_such_metric(model):
    metrics, _ = evaluated(model, examples_of([0, 1]))
    assert not any("sample" in name for name in metrics)


def test_predictions_are_class_names_with_the_confidence_of_the_predicted_class(model):
    _, table = evaluated(model, mistaken([0, 2], [0, 1]))
    assert table["label"].tolist() == ["a", "b"]
    assert table["prediction"].tolist() == ["a", "c"]
    expected = np.e**5 / (np.e**5 + 2)
    assert table["confidence"].tolist() == pytest.approx([expected] * 2, abs=1e-6)


def test_every_image_has_its_own_confidence_and_numbers_are_rounded_to_six_places(model):
    test = examples_of([0, 1])
    test.inputs[1] *= 0.2  # its logits are 1 and 0
    metrics, table = evaluated(model, replace(test, labels=np.array([0, 2], np.uint8)))
    sure, unsure = np.e**5 / (np.e**5 + 2), np.e / (np.e + 2)
    assert table["confidence"].tolist() == [np.float32(sure).round(6), np.float32(unsure).round(6)]
    assert metrics["test_loss"] == round((-np.log(sure) - np.log((1 - unsure) / 2)) / 2, 6)
    three, _ = evaluated(model, mistaken([0, 1, 2], [0, 1, 1]))
    assert three["test_accuracy"] == 0.666667


def test_probabilities_do_not_depend_on_the_number_of_threads(model):
    levels = np.random.default_rng(0).integers(0, 256, (1500, 784))
    inputs = (levels / 255).astype(np.float32)
    alone = predict_probabilities(model, inputs, CPU.engine(model.network, threads=1))
    assert alone.shape == (1500, 3)
    for threads in (2, 3, 8):
        engine = CPU.engine(model.network, threads=threads)
        np.testing.assert_array_equal(alone, predict_probabilities(model, inputs, engine))
    np.testing.assert_array_equal(alone, predict_probabilities(model, inputs))


def test_a_model_for_other_classes_is_refused(model):
    with refused(match="knows the classes a, b, c; made has x, y, z"):
        evaluated(model, examples_of([0, 1], classes=("x", "y", "z")))


def test_a_model_with_another_normalization_is_refused(model):
    other = Normalization("standardize", 0.1, 0.3)
    with refused(match="was trained on images normalised by"):
        evaluated(model, examples_of([0, 1], normalization=other))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """10,000 examples in a file."""
    path = tmp_path_factory.mktemp("stored") / "x.parquet"
    rng = np.random.default_rng(0)
    inputs = (rng.integers(0, 256, (10_000, 784)) / 255).astype(np.float32)
    labels = rng.integers(0, 10, 10_000, np.uint8)
    description = Description("made", tuple("0123456789"), "made")
    write_examples(path, Examples(inputs, labels, description, SCALE))
    return open_examples(path)


@pytest.mark.parametrize("count", [1, 300, 513, 4096, 4097, 9_999, 10_000])
def test_a_score_computed_in_pieces_equals_that_in_memory_bit_for_bit(stored, count, monkeypatch):
    monkeypatch.setattr(pixel_file, "PIECE", 300)
    settings = VariantSettings(hidden=[20], lr=0.1, batch_size=32, epochs=1)
    network, _ = make_network(settings, 10, 0)
    part = stored.first(count)
    whole = part.read()
    for threads in (1, 3):
        engine = CPU.engine(network, threads=threads)
        in_memory = Score.of(engine.measure(hold(engine, whole)), count)
        assert score_set(engine, part) == in_memory
        assert score_set(engine, whole) == in_memory
