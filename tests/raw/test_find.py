import numpy as np
import pytest

from pipeline.raw.find import choose_files
from tests.layouts import (
    csv_bytes,
    csv_rows,
    gzipped,
    idx_files,
    write_files,
)
from tests.refusal import refused
from tests.whole import read_raw


@pytest.fixture(scope="module")
def training(few_digits):
    return few_digits.take(np.arange(0, 120))


@pytest.fixture(scope="module")
def testing(few_digits):
    return few_digits.take(np.arange(120, 200))


def tables(train_name, training, test_name, testing, header, eol="\r\n"):
    return {
        train_name: csv_bytes(csv_rows(training, header), eol),
        test_name: csv_bytes(csv_rows(testing, header), eol),
    }


def published(training, testing, dot=False):
    return idx_files("train", training, dot) | idx_files("t10k", testing, dot)


def hojjatk(training, testing):
    again = {f"{name}/{name}": b"ignored" for name in published(training, testing)}
    return published(training, testing, dot=True) | again


LAYOUTS = {
    "published": lambda training, testing: gzipped(published(training, testing)),
    "unpacked": published,
    "hojjatk": hojjatk,
    "hojjatk without its root": lambda training, testing: {
        f"{name}/{name}": content for name, content in published(training, testing).items()
    },
    "dots and dashes mixed": lambda training, testing: (
        idx_files("train", training, dot=True) | idx_files("t10k", testing)
    ),
    "in a folder of its own": lambda training, testing: {
        f"data/MNIST/raw/{name}": content for name, content in published(training, testing).items()
    },
    "named by dataset": lambda training, testing: {
        f"emnist-digits-{name.replace('t10k', 'test')}": content
        for name, content in published(training, testing).items()
    },
    "oddrationale": lambda training, testing: tables(
        "mnist_train.csv", training, "mnist_test.csv", testing, "1x1"
    ),
    "zalando": lambda training, testing: tables(
        "fashion-mnist_train.csv", training, "fashion-mnist_test.csv", testing, "pixel1"
    ),
    "colab": lambda training, testing: tables(
        "mnist_train_small.csv", training, "mnist_test.csv", testing, None, "\n"
    ),
    "compressed tables": lambda training, testing: gzipped(
        tables("train.csv", training, "test.csv", testing, "pixel0")
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_gives_the_same_two_splits(tmp_path, training, testing, layout):
    splits, warnings = read_raw(write_files(tmp_path, layout(training, testing)))
    assert warnings == []
    assert list(splits) == ["train", "test"]
    for read, data in zip(splits.values(), (training, testing), strict=True):
        np.testing.assert_array_equal(read.images, data.images)
        np.testing.assert_array_equal(read.labels, data.labels)


def test_the_unlabelled_test_set_of_a_competition_is_ignored_with_a_warning(
    tmp_path, training, testing
):
    files = {
        "train.csv": csv_bytes(csv_rows(training, "pixel0")),
        "test.csv": csv_bytes(csv_rows(testing, "pixel0", labels=False)),
        "sample_submission.csv": b"ImageId,Label\n1,0\n",
    }
    splits, warnings = read_raw(write_files(tmp_path, files))
    assert list(splits) == ["train"]
    np.testing.assert_array_equal(splits["train"].labels, training.labels)
    assert warnings == [f"{tmp_path / 'test.csv'} has no labels and is ignored"]


def test_idx_takes_precedence_over_csv(tmp_path, training, testing):
    other = tables("fashion-mnist_train.csv", testing, "fashion-mnist_test.csv", training, "pixel1")
    splits, _ = read_raw(write_files(tmp_path, other | published(training, testing)))
    np.testing.assert_array_equal(splits["train"].images, training.images)
    np.testing.assert_array_equal(splits["test"].images, testing.images)


def test_idx_without_a_test_set_does_not_borrow_one_from_csv(tmp_path, training, testing):
    files = idx_files("train", training) | {"test.csv": csv_bytes(csv_rows(testing))}
    splits, _ = read_raw(write_files(tmp_path, files))
    assert list(splits) == ["train"]


@pytest.mark.parametrize("name", ["my own digits.csv", "train_and_test.csv", "latest.csv"])
def test_a_single_table_is_the_training_set_and_never_also_the_test_set(tmp_path, training, name):
    splits, _ = read_raw(write_files(tmp_path, {name: csv_bytes(csv_rows(training))}))
    assert list(splits) == ["train"]


@pytest.mark.parametrize("folder", ["", "__MACOSX/"])
@pytest.mark.parametrize(
    "names",
    [["train.csv"], ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]],
    ids=["csv", "idx"],
)
def test_metadata_files_of_macos_are_ignored(names, folder):
    assert choose_files([f"{folder}._{name}" for name in names] + names) == choose_files(names)


def test_the_choice_does_not_depend_on_the_order_of_the_files():
    names = [
        "b/train.csv",
        "a/train.csv",
        "a/test.csv",
        "b/c/test.csv",
        "notes.txt",
        "mnist_t10k.csv",
    ]
    chosen = choose_files(names)
    assert chosen.splits == {"train": ("a/train.csv",), "test": ("mnist_t10k.csv",)}
    assert choose_files(reversed(names)) == chosen


@pytest.mark.parametrize("split", ["train", "t10k"])
def test_different_numbers_of_images_and_labels_are_refused_with_both_names(
    tmp_path, training, testing, split
):
    files = published(training, testing)
    files |= {
        f"{split}-labels-idx1-ubyte": idx_files(split, testing.take(np.arange(7)))[
            f"{split}-labels-idx1-ubyte"
        ]
    }
    write_files(tmp_path, files)
    images, labels = (tmp_path / f"{split}-{part}-ubyte" for part in ("images-idx3", "labels-idx1"))
    with refused(images, labels, "one label per image", "and 7 labels"):
        read_raw(tmp_path)


@pytest.mark.parametrize("split", ["train", "t10k"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_images_without_labels_and_labels_without_images_are_refused(
    training, testing, split, part
):
    names = [name for name in published(training, testing) if name.split("-")[:2] != [split, part]]
    other = next(name for name in names if name.startswith(split))
    with refused(other, f"no {part} file of the {'train' if split == 'train' else 'test'} set"):
        choose_files(names)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["README.md", "train.txt", "train.parquet"],
        ["test.csv"],
        ["first.csv", "second.csv"],
        ["train-images-idx3-ubyte.zip"],
    ],
)
def test_names_without_a_training_set_are_refused_and_listed(names):
    with refused("no training set in IDX or CSV among", *names):
        choose_files(names)


def test_only_the_first_of_many_unusable_files_are_listed():
    with refused("0.txt, 1.txt, 2.txt, 3.txt, 4.txt, ..."):
        choose_files(f"{number}.txt" for number in range(6))
    with refused("0.txt, 1.txt, 2.txt, 3.txt, 4.txt") as caught:
        choose_files(f"{number}.txt" for number in range(5))
    assert str(caught.value).endswith("4.txt")


def test_a_test_set_alone_is_refused(tmp_path, testing):
    with refused("no training set", "t10k-images-idx3-ubyte"):
        read_raw(write_files(tmp_path, idx_files("t10k", testing)))


def test_a_damaged_file_is_refused_with_its_name(tmp_path, training, testing):
    files = published(training, testing)
    files["t10k-images-idx3-ubyte"] = files["t10k-images-idx3-ubyte"][:-1]
    with refused(tmp_path / "t10k-images-idx3-ubyte"):
        read_raw(write_files(tmp_path, files))


def test_a_training_table_without_labels_is_refused_with_its_name(tmp_path, training):
    files = {"train.csv": csv_bytes(csv_rows(training, "pixel0", labels=False))}
    with refused(tmp_path / "train.csv", "column named label"):
        read_raw(write_files(tmp_path, files))
