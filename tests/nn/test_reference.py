"""Whether a picture is like the training images."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.base.params import VariantSettings
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.picture import center_digit
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.reference import Reference, choose_reference, coarse
from tests.splits import CLASSES, SCALE
from tests.training import trained


@pytest.fixture(scope="module")
def model(digits):
    """A network of real digits with its reference, and 1,000 digits that neither has seen."""
    rows = np.random.default_rng(0).permutation(5000)
    training, validation = (
        Examples(
            SCALE.apply(digits.images[part]), digits.labels[part],
            Description("mnist-5k", CLASSES, "a test"), SCALE,
        )
        for part in (rows[:3500], rows[3500:4000])
    )  # fmt: skip
    settings = VariantSettings(hidden=[64], lr=0.1, momentum=0.9, batch_size=64, epochs=8)
    pair = training.inputs, training.labels
    network, _ = trained(settings, pair, pair)
    model = Model("good", network, SCALE, CLASSES, {})
    predicted = predict_probabilities(model, validation.inputs).argmax(axis=1)
    reference = choose_reference(training, validation, predicted)
    return replace(model, reference=reference), digits.images[rows[4000:]]


def unlike(model, images):
    predicted = predict_probabilities(model, SCALE.apply(images)).argmax(axis=1)
    return (model.reference.similarity(images, predicted) < model.reference.least).mean()


def crosses(rng):
    for _ in range(100):
        page = Image.new("L", (200, 200))
        for ends in (((40, 40), (160, 160)), ((160, 40), (40, 160))):
            points = [tuple(np.add(end, rng.uniform(-15, 15, 2))) for end in ends]
            ImageDraw.Draw(page).line(points, fill=255, width=14)
        yield center_digit(np.asarray(page, np.float64))


def test_unseen_digits_are_like_the_training_images_and_crosses_and_noise_are_not(model):
    model, unseen = model
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (100, 28, 28), np.uint8)
    assert unlike(model, unseen) < 0.05
    assert unlike(model, np.stack(list(crosses(rng)))) > 0.8
    assert unlike(model, noise) == 1


def test_a_reference_has_as_many_images_of_every_class(model):
    reference = model[0].reference
    assert reference.images.shape == (1000, 196)
    assert (np.bincount(reference.labels) == 100).all()


def test_an_image_of_the_reference_is_wholly_similar_and_a_class_without_images_not_at_all(digits):
    images = digits.images[[0, 700]]
    reference = Reference(coarse(images), np.array([0, 1], np.uint8), 0.5)
    np.testing.assert_allclose(reference.similarity(images, np.array([0, 1])), 1)
    np.testing.assert_array_equal(reference.similarity(images, np.array([2, 2])), 0)


def test_an_empty_image_is_similar_to_nothing(digits):
    reference = Reference(coarse(digits.images[:1]), np.zeros(1, np.uint8), 0.5)
    assert reference.similarity(np.zeros((1, 28, 28), np.uint8), np.zeros(1, int)) == 0


def test_a_reference_is_kept_in_the_model_file(model, tmp_path):
    save_model(tmp_path / "model.npz", model[0])
    loaded = load_model(tmp_path / "model.npz").reference
    np.testing.assert_array_equal(loaded.images, model[0].reference.images)
    np.testing.assert_array_equal(loaded.labels, model[0].reference.labels)
    assert loaded.least == model[0].reference.least
