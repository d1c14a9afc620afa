import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.model_selection import train_test_split

from pipeline.datasets.images import LabelledImages
from pipeline.datasets.normalization import fit_normalization as fit_to_blocks
from pipeline.datasets.split import split_rows
from tests.refusal import refused
from tests.whole import fit_normalization, split_stratified

counts = st.lists(st.integers(2, 30), min_size=2, max_size=6)
"""Numbers of images per class."""


def numbered(counts, order=0):
    """Return images that contain their own number, so that each is unique."""
    labels = np.repeat(np.arange(len(counts), dtype=np.uint8), counts)
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 0, 0], images[:, 0, 1] = np.divmod(np.arange(len(labels)), 256)
    return LabelledImages(images, labels).take(
        np.random.default_rng(order).permutation(len(labels))
    )


def numbers(data):
    return data.images[:, 0, :2].astype(int) @ (256, 1)


@st.composite
def splits(draw):
    """Draw a set and a valid size for a part of it."""
    data = numbered(draw(counts), draw(st.integers(0, 9)))
    classes = len(np.unique(data.labels))
    return data, draw(st.integers(classes, len(data) - classes))


@given(splits(), st.integers(0, 2**32 - 1))
def test_the_parts_are_disjoint_and_complete_and_have_the_requested_size(split, seed):
    data, size = split
    rest, part = split_stratified(data, size, seed, "size")
    assert len(part) == size
    assert sorted([*numbers(rest), *numbers(part)]) == list(range(len(data)))


@given(splits(), st.integers(0, 9))
def test_every_image_keeps_its_label(split, seed):
    data, size = split
    label_of = dict(zip(numbers(data), data.labels, strict=True))
    for part in split_stratified(data, size, seed, "size"):
        assert [label_of[number] for number in numbers(part)] == part.labels.tolist()


@given(splits(), st.integers(0, 9))
def test_every_class_has_its_share_to_within_one_image(split, seed):
    data, size = split
    _, part = split_stratified(data, size, seed, "size")
    classes = data.labels.max() + 1
    shares = np.bincount(data.labels, minlength=classes) * size / len(data)
    assert (abs(np.bincount(part.labels, minlength=classes) - shares) < 1).all()


@given(splits(), st.integers(0, 2**32 - 1))
def test_the_same_seed_gives_the_same_parts_in_the_same_order(split, seed):
    data, size = split
    for first, second in zip(
        split_stratified(data, size, seed, "size"),
        split_stratified(data, size, seed, "size"),
        strict=True,
    ):
        np.testing.assert_array_equal(numbers(first), numbers(second))


@given(splits(), st.integers(0, 2**32 - 1))
def test_the_rows_and_their_order_are_those_of_scikit_learn(split, seed):
    data, size = split
    expected = train_test_split(
        np.arange(len(data)), test_size=size, stratify=data.labels, random_state=seed
    )
    for rows, wanted in zip(split_rows(data.labels, size, seed, "size"), expected, strict=True):
        np.testing.assert_array_equal(rows, wanted)


@pytest.mark.parametrize("size", [10_000, 5_000, 59_990, 12_345])
def test_the_rows_of_a_large_set_are_those_of_scikit_learn(size):
    labels = np.random.default_rng(size).choice(10, 60_000, p=np.arange(1, 11) / 55)
    expected = train_test_split(np.arange(60_000), test_size=size, stratify=labels, random_state=0)
    chosen = split_rows(labels.astype(np.uint8), size, 0, "size")
    for rows, wanted in zip(chosen, expected, strict=True):
        np.testing.assert_array_equal(rows, wanted)


def test_choosing_rows_takes_at_most_16_bytes_per_image():
    labels = np.repeat(np.arange(2, dtype=np.uint8), 500_000)
    tracemalloc.start()
    split_rows(labels, 1000, 0, "size")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 * len(labels)


def test_different_seeds_give_different_parts(digits):
    chosen = [split_stratified(digits, 1000, seed, "size")[1].images.tobytes() for seed in range(5)]
    assert len(set(chosen)) == 5


def test_both_parts_of_sorted_digits_are_mixed(digits):
    assert (np.diff(digits.labels.astype(int)) >= 0).all()
    for part in split_stratified(digits, 1000, 0, "size"):
        assert len(np.unique(part.labels[:100])) == 10


@pytest.mark.parametrize("size", [9, 191, 200, 10**9])
def test_a_part_that_is_too_small_or_too_large_is_refused_with_the_settings_name(few_digits, size):
    with refused(
        "datasets.x.test_size", "from 10 to 190", "200 images of 10 classes", f"got {size}"
    ):
        split_stratified(few_digits, size, 0, "datasets.x.test_size")


@pytest.mark.parametrize("size", [10, 190])
def test_the_smallest_and_the_largest_part_hold_every_class(few_digits, size):
    for part in split_stratified(few_digits, size, 0, "size"):
        assert len(np.unique(part.labels)) == 10


def test_a_class_of_one_image_is_refused_with_its_label():
    with refused("size needs at least 2 images of every class", "got 1 of class 2"):
        split_stratified(numbered([5, 5, 1, 5]), 5, 0, "size")


pictures = arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(28), st.just(28)))


@given(pictures)
def test_standardized_pixels_have_mean_zero_and_deviation_one(images):
    assume(len(np.unique(images)) > 1)
    inputs = fit_normalization(images, "standardize").apply(images).astype(float)
    assert abs(inputs.mean()) < 1e-5
    assert abs(inputs.std() - 1) < 1e-5


def test_standardizing_uses_the_statistics_of_the_given_images_only(few_digits):
    rest, part = split_stratified(few_digits, 50, 0, "size")
    fitted = fit_normalization(rest.images, "standardize")
    assert fitted.mean == pytest.approx(rest.images.mean() / 255, abs=1e-12)
    assert fitted.std == pytest.approx(rest.images.std() / 255, abs=1e-12)
    assert fitted.mean != pytest.approx(few_digits.images.mean() / 255, abs=1e-6)
    assert abs(fitted.apply(part.images).mean()) > 1e-4


@given(st.lists(st.integers(0, 200), max_size=5), st.permutations(range(200)))
def test_statistics_of_blocks_equal_those_of_the_whole_set_bit_for_bit(few_digits, cuts, order):
    blocks = map(few_digits.take, np.split(np.array(order), sorted(cuts)))
    whole = fit_normalization(few_digits.images, "standardize")
    assert fit_to_blocks(blocks, "standardize") == whole


def test_scaling_maps_black_to_zero_and_white_to_one_and_does_not_look_at_the_images(few_digits):
    scale = fit_normalization(few_digits.images, "scale")
    assert scale == fit_normalization(np.full_like(few_digits.images, 7), "scale")
    inputs = scale.apply(few_digits.images)
    np.testing.assert_array_equal(
        inputs, few_digits.images.reshape(200, 784).astype(np.float32) / np.float32(255)
    )
    assert (inputs.min(), inputs.max()) == (0, 1)


@pytest.mark.parametrize("method", ["scale", "standardize"])
def test_inputs_are_float32_rows_of_784(few_digits, method):
    normalization = fit_normalization(few_digits.images, method)
    inputs = normalization.apply(few_digits.images)
    assert inputs.dtype == np.float32
    assert inputs.shape == (200, 784)
    np.testing.assert_array_equal(normalization.apply(few_digits.images.reshape(200, 784)), inputs)


@pytest.mark.parametrize("method", ["scale", "standardize"])
@given(images=pictures)
def test_undoing_restores_the_brightness(method, images):
    assume(method == "scale" or len(np.unique(images)) > 1)
    normalization = fit_normalization(images, method)
    brightness = normalization.undo(normalization.apply(images))
    np.testing.assert_array_equal(np.rint(brightness * 255), images.reshape(len(images), -1))


def test_a_brighter_pixel_gives_a_greater_input(few_digits):
    ramp = np.arange(256, dtype=np.uint8).reshape(1, -1)
    for method in ("scale", "standardize"):
        inputs = fit_normalization(few_digits.images, method).apply(ramp)
        assert (np.diff(inputs) > 0).all()


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_images_of_a_single_grey_value_cannot_be_standardized(grey):
    with refused("normalize: standardize", "more than one grey value"):
        fit_normalization(np.full((5, 28, 28), grey, np.uint8), "standardize")
