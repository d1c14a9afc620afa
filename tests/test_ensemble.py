"""What networks reach together, with networks whose probabilities are given."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.datasets.examples import Description, Examples
from pipeline.ensemble import choose_best, measure_together
from pipeline.metrics import wilson_interval
from pipeline.nn.model_file import Model
from pipeline.nn.network import Architecture, Network
from tests.refusal import refused
from tests.splits import SCALE

CLASSES = ("a", "b", "c")
LABELS = np.array([0, 1, 2, 0], np.uint8)


def shares(*rows):
    return np.array(rows, np.float32)


# Alone, two, three and one of four are right; together, `second` corrects the doubt of `first`.
FIRST = shares([0.9, 0.1, 0], [0.1, 0.9, 0], [0.1, 0.5, 0.4], [0.4, 0.6, 0])
SECOND = shares([0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0, 0.1, 0.9], [0.7, 0.2, 0.1])
THIRD = shares([0, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0])


def test_the_best_networks_are_those_that_reach_most_together_on_the_images_given():
    assert choose_best([FIRST, SECOND, THIRD], LABELS) == ([1, 0, 2], 2)
    assert choose_best([THIRD, SECOND], LABELS) == ([1, 0], 1)


def test_of_a_tie_the_earlier_network_ranks_first_and_the_fewest_are_taken():
    assert choose_best([SECOND, SECOND, SECOND], LABELS) == ([0, 1, 2], 1)


@pytest.fixture(name="models")
def _models():
    """Networks whose logits are three pixels of an image, each its own three."""

    def model(variant, start):
        weight = np.zeros((784, 3), np.float32)
        weight[start : start + 3] = np.eye(3)
        parameters = {"layer1.weight": weight, "layer1.bias": np.zeros(3, np.float32)}
        network = Network(Architecture((784, 3), "relu", "softmax", "cross_entropy"), parameters)
        known = {"dataset": "made", "source": "by hand"}
        return Model(variant, network, SCALE, CLASSES, known)

    return [model("first", 0), model("second", 3), model("third", 6)]


def images_of(*networks):
    """Return images from which the networks read these probabilities."""
    inputs = np.zeros((len(LABELS), 784), np.float32)
    for number, probabilities in enumerate(networks):
        inputs[:, 3 * number : 3 * number + 3] = np.log(probabilities + np.float32(1e-3))
    return Examples(inputs, LABELS, Description("made", CLASSES, "by hand"), SCALE)


def test_the_accuracies_of_all_and_of_the_best_are_counted(models):
    every, best = measure_together(
        models, images_of(FIRST, SECOND, THIRD), images_of(THIRD, SECOND, FIRST)
    )
    assert every.members == ("second", "first", "third")
    assert best.members == ("second", "first")
    assert best.validation_accuracy == 1
    assert every.validation_accuracy == 0.5  # `third` is sure of wrong classes
    assert best.test_accuracy == 0.25
    assert (best.test_low, best.test_high) == wilson_interval(1, 4)


def test_the_test_images_do_not_choose_the_best(models):
    validation = images_of(FIRST, SECOND, THIRD)
    tests = [images_of(FIRST, SECOND, THIRD), images_of(THIRD, THIRD, SECOND)]
    members = {measure_together(models, validation, test)[1].members for test in tests}
    assert members == {("second", "first")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_names": ("x", "y", "z")}, "model second knows the classes x, y, z; made has a"),
        ({"normalization": replace(SCALE, mean=0.5)}, "model second was trained on images normal"),
        ({"training": {}}, "model second was trained on other images than those of made in data/"),
    ],
)
def test_a_network_for_other_images_is_refused(models, changes, message):
    models[1] = replace(models[1], **changes)
    images = images_of(FIRST, SECOND, THIRD)
    with refused(match=message):
        measure_together(models, images, images)
