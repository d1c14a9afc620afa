"""What looks wrong is refused or warned of, with the setting that mends it."""

import numpy as np
import pytest

from pipeline.base.params import DatasetSettings
from pipeline.datasets.images import LabelledImages
from pipeline.raw.changes import changes_of
from pipeline.raw.plausible import agreement, check_plausible, statistics
from tests.refusal import refused
from tests.whole import collect, read_raw

DIGITS = [str(number) for number in range(10)]


def settings(**changes):
    content = {
        "source": "embedded", "class_names": DIGITS, "validation_size": 5, "test_size": 5,
        "pictures": "digit",
        "checksums": {},
    }  # fmt: skip
    return DatasetSettings.model_validate(content | changes)


def check(data, file="train.csv", split="train", **changes):
    """Make the changes that the settings ask for, and return what is warned of."""
    chosen = settings(**changes)
    made = collect(changes_of("mine", chosen).made(split, [data]))
    return check_plausible("mine", split, made, chosen, file)


def changed(data, change):
    return LabelledImages(np.ascontiguousarray(change(data.images)), data.labels)


def inverted(data):
    return changed(data, lambda images: 255 - images)


def transposed(data):
    return changed(data, lambda images: images.transpose(0, 2, 1))


def of_0_and_1(data):
    return changed(data, lambda images: (images > 127).astype(np.uint8))


def of_16_greys(data):
    return changed(data, lambda images: images // 16)


def from_1(data):
    return LabelledImages(data.images, data.labels + np.uint8(1))


def test_digits_as_they_should_be_pass(few_digits):
    assert check(few_digits) == []


WRONG = {
    "pixels of 0 and 1": (of_0_and_1, "scale", 255, 1, ["from 0 to 1,"]),
    "16 levels of grey": (of_16_greys, "scale", 17, 1, ["from 0 to 15,"]),
    "dark on light": (inverted, "invert", True, False, ["looks inverted", "border", "centre"]),
    "transposed": (transposed, "transpose", True, False, ["transposed images", "agree by 0."]),
}


def test_a_set_may_be_no_darker_than_a_quarter_of_the_range(few_digits):
    assert check(changed(few_digits, lambda images: images.clip(max=64))) == []
    with refused("pixels from 0 to 63, not to 255; set datasets.mine.scale to 4.04"):
        check(changed(few_digits, lambda images: images.clip(max=63)))


@pytest.mark.parametrize(("make", "key", "mend", "keep", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_set_is_refused_with_what_was_seen_and_the_setting_that_mends_it(
    few_digits, make, key, mend, keep, words
):
    data = make(few_digits)
    shown = str(mend).lower()
    with refused("the train set of mine", *words, f"set datasets.mine.{key} to {shown}"):
        check(data)
    assert check(data, **{key: mend}) == []
    for warning in check(data, **{key: keep}):
        assert "does not look like the digits" in warning


def test_a_first_label_that_is_set_is_not_asked_for_again(few_digits):
    data = from_1(few_digits)
    data.labels[7] = 11
    with refused("labels from 0 to 9", "got 10") as caught:
        check(data, first_label=1)
    assert "set datasets" not in str(caught.value)


def test_labels_from_1_are_refused_with_the_setting_that_mends_them(few_digits):
    data = from_1(few_digits)
    with refused("labels from 0 to 9", "got 10", "set datasets.mine.first_label to 1"):
        check(data)
    assert check(data, first_label=1) == []
    with refused("datasets.mine.first_label must be the lowest label, got 5", "has label 1"):
        check(data, first_label=5)


def test_where_label_10_stands_for_0_class_names_end_with_0(few_digits):
    data = LabelledImages(few_digits.images, np.where(few_digits.labels, few_digits.labels, 10))
    with refused(
        "got 10", "if 10 stands for 0, also move 0 to the end of datasets.mine.class_names"
    ):
        check(data)
    assert check(data, first_label=1, class_names=[*"1234567890"]) == []
    assert "does not look like the digits" in check(data, first_label=1)[0]


@pytest.mark.parametrize("make", [inverted, transposed, of_0_and_1, from_1])
def test_the_changes_give_back_the_original_images(few_digits, make):
    keys = {
        inverted: {"invert": True},
        transposed: {"transpose": True},
        of_0_and_1: {"scale": 255},
        from_1: {"first_label": 1},
    }[make]
    chosen = changes_of("mine", settings(**keys))
    made = collect(chosen.made("train", [make(few_digits)]))
    expected = few_digits.images
    if make is of_0_and_1:
        expected = np.where(expected > 127, 255, 0)
    np.testing.assert_array_equal(made.images, expected)
    np.testing.assert_array_equal(made.labels, few_digits.labels)
    (name,) = keys
    assert len(chosen.described()) == 1
    assert chosen.described()[0].startswith(name)


def test_changes_that_leave_the_range_are_refused_with_the_setting(few_digits):
    with refused("datasets.mine.scale must give pixels up to 255, got 510", "with 2"):
        check(few_digits, scale=2.0)
    with refused("datasets.mine.first_label must be the lowest label, got 1", "has label 0"):
        check(few_digits, first_label=1)


def test_a_change_that_does_not_fit_is_refused(few_digits):
    with refused("transposed images", "set datasets.mine.transpose to false"):
        check(few_digits, transpose=True)
    with refused("looks inverted", "datasets.mine.invert be left out"):
        check(few_digits, invert=True)


def test_shuffled_labels_of_digits_are_warned_of(few_digits):
    labels = np.random.default_rng(0).permutation(few_digits.labels)
    (warning,) = check(LabelledImages(few_digits.images, labels))
    assert "does not look like the digits that its class_names say" in warning
    assert "check its labels" in warning


def test_one_class_alone_is_refused_and_absent_classes_are_warned_of(few_digits):
    ones = few_digits.take(np.flatnonzero(few_digits.labels == 1))
    with refused("the train set of mine", "several classes, got only 1"):
        check(ones)
    (warning,) = check(ones, split="test")
    assert warning == (
        "the test set of mine has no images of 9 of its 10 classes: 0, 2, 3, 4, 5, 6, 7, 8, 9"
    )


def test_blank_images_are_warned_of(few_digits):
    assert check(changed(few_digits, np.zeros_like)) == [
        "the train set of mine has no pixels but 0"
    ]


def test_emnist_by_name_is_asked_for_its_orientation(few_digits):
    letters = [chr(ord("A") + number) for number in range(10)]
    file = "gzip/emnist-letters-train-images-idx3-ubyte.gz"
    with refused(file, "published transposed", "set datasets.mine.transpose to true"):
        check(few_digits, file, class_names=letters)
    assert check(few_digits, file, class_names=letters, transpose=False) == []
    assert check(few_digits, "letters.csv", class_names=letters) == []


def test_statistics_are_counts_of_pixels_and_images_and_a_mean_image_per_class(digits):
    rows = np.flatnonzero(digits.labels != 3)[::7]
    part = digits.take(rows)
    found = statistics(part, 11)
    np.testing.assert_array_equal(found.levels, np.bincount(part.images.ravel(), minlength=256))
    np.testing.assert_array_equal(found.counts, np.bincount(part.labels, minlength=11))
    for label, mean in enumerate(found.means):
        of_class = part.images[part.labels == label]
        np.testing.assert_allclose(mean, of_class.mean(axis=0) if len(of_class) else 0)


@pytest.mark.full
@pytest.mark.parametrize("size", [20, 40, 80, 200, 1000])
def test_right_and_wrong_sets_are_far_apart(full_data, size):
    rng = np.random.default_rng(size)
    right, wrong = [], []
    for name in ("mnist", "fashion-mnist"):
        data = read_raw(full_data / name)[0]["test"]
        for _ in range(20):
            part = data.take(rng.permutation(len(data))[: max(size, 30)])
            shuffled = LabelledImages(part.images, rng.permutation(part.labels))
            upright, across = agreement(statistics(part, 10), DIGITS)
            (right if name == "mnist" else wrong).append(upright)
            wrong += [across, agreement(statistics(shuffled, 10), DIGITS)[0]]
    assert min(right) > 0.5
    assert max(wrong) < 0.4
