"""Which files belong together, whatever their format and layout."""

import numpy as np
import pytest

from pipeline.raw.find import find_set, open_raw
from pipeline.raw.names import named
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


def emnist(name, training, testing):
    """The files of one of EMNIST's sets."""
    return {
        f"emnist-{name}-{file.replace('t10k', 'test')}": content
        for file, content in published(training, testing).items()
    }


def in_folder(folder, files):
    return {f"{folder}/{name}": content for name, content in files.items()}


@pytest.mark.parametrize(
    ("stem", "split"),
    [
        ("train", "train"), ("training-set", "train"), ("X_train", "train"), ("test", "test"),
        ("testing", "test"), ("t10k-images", "test"), ("val", "validation"),
        ("valid", "validation"), ("validation", "validation"), ("mnist.dev", "validation"),
        ("dev_images", "validation"),
        ("latest", None), ("device", None), ("values", None), ("strain", None), ("images", None),
        ("train_and_test", "train"),
    ],
)  # fmt: skip
def test_the_name_of_a_file_says_its_split(stem, split):
    assert named(stem).split == split


LAYOUTS = {
    "published": lambda training, testing: gzipped(published(training, testing)),
    "unpacked": published,
    "unpacked beside the archives": lambda training, testing: (
        published(training, testing) | {f"{name}.gz": b"" for name in published(training, testing)}
    ),
    "hojjatk": hojjatk,
    "hojjatk without its root": lambda training, testing: {
        f"{name}/{name}": content for name, content in published(training, testing).items()
    },
    "dots and dashes mixed": lambda training, testing: (
        idx_files("train", training, dot=True) | idx_files("t10k", testing)
    ),
    "in a folder of its own": lambda training, testing: in_folder(
        "data/MNIST/raw", published(training, testing)
    ),
    "named by dataset": lambda training, testing: emnist("digits", training, testing),
    "oddrationale": lambda training, testing: tables(
        "mnist_train.csv", training, "mnist_test.csv", testing, "1x1"
    ),
    "zalando": lambda training, testing: tables(
        "fashion-mnist_train.csv", training, "fashion-mnist_test.csv", testing, "pixel1"
    ),
    "colab": lambda training, testing: tables(
        "mnist_train_small.csv", training, "mnist_test.csv", testing, None, "\n"
    ),
    "colab's sample_data": lambda training, testing: (
        tables("mnist_train_small.csv", training, "mnist_test.csv", testing, None, "\n")
        | {f"california_housing_{split}.csv": b"a,b\n1,2\n" for split in ("train", "test")}
        | {"anscombe.json": b"{}", "README.md": b"read me"}
    ),
    "the first rows of each": lambda training, testing: tables(
        "mnist_train_100.csv", training, "mnist_test_10.csv", testing, None, "\n"
    ),
    "a folder per split": lambda training, testing: tables(
        "train/train.csv", training, "test/test.csv", testing, "pixel0"
    ),
    "a folder per split, and files that do not say it": lambda training, testing: tables(
        "mnist/train/0000.csv", training, "mnist/test/0000.csv", testing, "pixel0"
    ),
    "compressed tables": lambda training, testing: gzipped(
        tables("train.csv", training, "test.csv", testing, "pixel0")
    ),
    "a hidden copy": lambda training, testing: (
        published(training, testing) | in_folder(".cache", published(testing, training))
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


def test_a_validation_set_is_ignored_with_a_warning(tmp_path, training, testing):
    files = tables("train.csv", training, "test.csv", testing, "pixel0")
    splits, warnings = read_raw(write_files(tmp_path, files | {"valid.csv": files["test.csv"]}))
    assert list(splits) == ["train", "test"]
    (warning,) = warnings
    assert warning.startswith(
        f"{tmp_path / 'valid.csv'} belongs to a validation set and is ignored"
    )


def test_idx_takes_precedence_over_csv(tmp_path, training, testing):
    other = tables("fashion-mnist_train.csv", testing, "fashion-mnist_test.csv", training, "pixel1")
    splits, _ = read_raw(write_files(tmp_path, other | published(training, testing)))
    np.testing.assert_array_equal(splits["train"].images, training.images)
    np.testing.assert_array_equal(splits["test"].images, testing.images)


def test_a_set_of_another_format_can_be_chosen(tmp_path, training, testing):
    other = tables("fashion-mnist_train.csv", testing, "fashion-mnist_test.csv", training, "pixel1")
    write_files(tmp_path, other | published(training, testing))
    splits, _ = open_raw(tmp_path, "fashion-mnist")
    assert splits["train"].names == ("fashion-mnist_train.csv",)


def test_idx_without_a_test_set_does_not_borrow_one_from_csv(tmp_path, training, testing):
    files = idx_files("train", training) | {"test.csv": csv_bytes(csv_rows(testing))}
    splits, _ = read_raw(write_files(tmp_path, files))
    assert list(splits) == ["train"]


@pytest.mark.parametrize("name", ["my own digits.csv", "train_and_test.csv", "latest.csv"])
def test_a_single_table_is_the_training_set_and_never_also_the_test_set(tmp_path, training, name):
    splits, _ = read_raw(write_files(tmp_path, {name: csv_bytes(csv_rows(training))}))
    assert list(splits) == ["train"]


def chosen(folder, names, wanted=None):
    """Return the names of the chosen files of each split; a file's content is not read."""
    found = find_set({name: folder / name for name in names}, wanted)
    return {split: files.names for split, files in found.splits.items()}


IDX = ["train-images-idx3-ubyte", "train-labels-idx1-ubyte"]


@pytest.mark.parametrize("folder", ["", "__MACOSX/"])
def test_metadata_files_of_macos_are_ignored(tmp_path, folder):
    names = [f"{folder}._{name}" for name in IDX] + IDX
    assert chosen(tmp_path, names) == chosen(tmp_path, IDX) == {"train": tuple(IDX)}


def test_the_choice_does_not_depend_on_the_order_of_the_files(tmp_path):
    names = [f"{split}-{name}" for split in ("a-train", "b-train", "a-test") for name in
             ("images-idx3-ubyte", "labels-idx1-ubyte")]  # fmt: skip
    for order in (names, names[::-1]):
        assert chosen(tmp_path, order, "a") == {
            "train": ("a-train-images-idx3-ubyte", "a-train-labels-idx1-ubyte"),
            "test": ("a-test-images-idx3-ubyte", "a-test-labels-idx1-ubyte"),
        }


def without(files, name):
    return {other: content for other, content in files.items() if other != name}


MISSING = {
    "labels of the training set": "FashionMNIST/raw/train-labels-idx1-ubyte",
    "images of the training set": "FashionMNIST/raw/train-images-idx3-ubyte",
    "labels of the test set": "FashionMNIST/raw/t10k-labels-idx1-ubyte",
    "images of the test set": "FashionMNIST/raw/t10k-images-idx3-ubyte",
}


@pytest.mark.parametrize(("what", "name"), MISSING.items(), ids=MISSING)
def test_a_set_that_is_not_whole_takes_nothing_from_another(
    tmp_path, training, testing, what, name
):
    both = in_folder("FashionMNIST/raw", published(training, testing)) | in_folder(
        "MNIST/raw", published(testing, training)
    )
    write_files(tmp_path, without(both, name))
    part, _, split = what.partition(" of ")
    other = name.replace("images-idx3", "x").replace("labels-idx1", "images-idx3")
    other = other.replace("-x-", "-labels-idx1-")
    with refused(f"{other} has no {part} file of {split} beside it", "files: MNIST/raw"):
        open_raw(tmp_path)
    splits, _ = open_raw(tmp_path, "MNIST/raw")
    assert {file.split("/")[0] for split in splits.values() for file in split.names} == {"MNIST"}


@pytest.mark.parametrize("split", ["train", "t10k"])
def test_two_sets_of_which_one_lacks_a_split_are_not_mixed(tmp_path, training, testing, split):
    both = in_folder("FashionMNIST/raw", published(training, testing)) | in_folder(
        "MNIST/raw", published(testing, training)
    )
    for part in ("images-idx3", "labels-idx1"):
        both = without(both, f"FashionMNIST/raw/{split}-{part}-ubyte")
    write_files(tmp_path, both)
    with refused("files: ", "MNIST/raw", "FashionMNIST/raw"):
        open_raw(tmp_path)
    splits, _ = open_raw(tmp_path, "MNIST/raw")
    assert list(splits) == ["train", "test"]
    if split == "t10k":
        splits, _ = open_raw(tmp_path, "FashionMNIST/raw")
        assert list(splits) == ["train"]


def test_several_whole_sets_are_refused_with_their_names_unless_one_is_chosen(
    tmp_path, training, testing
):
    names = ("balanced", "digits", "letters")
    for name in names:
        data = training if name == "letters" else testing
        write_files(tmp_path / "gzip", emnist(name, data, testing))
    sets = [f"gzip/emnist-{name}" for name in names]
    choice = f"choose one with the setting files, such as files: {sets[0]}"
    with refused(f"there are 3 sets: {', '.join(sets)}; {choice}"):
        open_raw(tmp_path)
    for wanted in ("emnist-letters", "gzip/emnist-letters", "EMNIST_letters"):
        splits, _ = open_raw(tmp_path, wanted)
        assert splits["train"].names[0] == "gzip/emnist-letters-train-images-idx3-ubyte"
        assert splits["test"].names[1] == "gzip/emnist-letters-test-labels-idx1-ubyte"
    with refused("files must name a set, one of gzip/emnist-balanced, ", "got letter"):
        open_raw(tmp_path, "letter")


def test_a_set_without_a_name_is_listed_by_its_folder(tmp_path, training):
    table = csv_bytes(csv_rows(training))
    write_files(tmp_path, {"train.csv": table, "train_2.csv": table, "a/train.csv": table})
    with refused("there are 3 sets: ., train-2, a; choose one"):
        open_raw(tmp_path)


TWO_TABLES = {
    "in two folders": (["a/train.csv", "b/train.csv"], "a"),
    "of two sizes": (["mnist_train.csv", "mnist_train_small.csv", "mnist_test.csv"], "mnist-small"),
    "of two names": (["a_train.csv", "a_test.csv", "b_train.csv", "b_test.csv"], "b"),
    "without a split": (["first.csv", "second.csv"], "second"),
    "with a test set of its own": (["a/train.csv", "b/c/train.csv", "b/c/test.csv"], "b/c"),
}


@pytest.mark.parametrize(("names", "wanted"), TWO_TABLES.values(), ids=TWO_TABLES)
def test_two_training_tables_are_refused_unless_one_is_chosen(tmp_path, training, names, wanted):
    write_files(tmp_path, dict.fromkeys(names, csv_bytes(csv_rows(training))))
    with refused("2 sets", wanted, "setting files"):
        open_raw(tmp_path)
    splits, _ = open_raw(tmp_path, wanted)
    assert len(splits["train"].names) == 1


def test_a_test_table_of_another_folder_is_refused(tmp_path, training):
    files = dict.fromkeys(["a/train.csv", "b/test.csv"], csv_bytes(csv_rows(training)))
    with refused("b/test.csv has no training set beside it", "files: a"):
        open_raw(write_files(tmp_path, files))


def test_a_file_twice_is_refused_with_both_names(tmp_path, training, testing):
    files = published(training, testing)
    files["train-images.idx3-ubyte"] = files["train-images-idx3-ubyte"]
    with refused("one file of images", "train-images-idx3-ubyte", "train-images.idx3-ubyte"):
        open_raw(write_files(tmp_path, files))


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
    images, labels = (f"{split}-{part}-ubyte" for part in ("images-idx3", "labels-idx1"))
    with refused(images, labels, "one label per image", "and 7 labels"):
        read_raw(tmp_path)


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["README.md", "train.txt", "train.doc"],
        ["train-images-idx3-ubyte.zip"],
    ],
)
def test_names_without_a_training_set_are_refused_and_listed(tmp_path, names):
    with refused("no training set (IDX, CSV, ", *names):
        chosen(tmp_path, names)


def test_only_the_first_of_many_unusable_files_are_listed(tmp_path):
    with refused("0.txt, 1.txt, 2.txt, 3.txt, 4.txt, ..."):
        chosen(tmp_path, [f"{number}.txt" for number in range(10)])


def test_a_test_set_alone_is_refused(tmp_path, testing):
    with refused("no training set beside it", "t10k-images-idx3-ubyte"):
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


def test_a_table_of_other_things_is_refused_with_what_it_lacks(tmp_path):
    files = {"housing_train.csv": b"longitude,latitude\n-122.0,37.0\n"}
    with refused(tmp_path / "housing_train.csv", "785 columns", "got 2"):
        read_raw(write_files(tmp_path, files))
