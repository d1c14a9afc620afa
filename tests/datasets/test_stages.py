import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline.datasets import pixel_file
from pipeline.datasets.examples import Description
from pipeline.datasets.parquet import read_examples, write_images
from stages import convert, download, split
from tests.command_line import run_in
from tests.conftest import changed_params
from tests.layouts import (
    content_of,
    csv_bytes,
    csv_rows,
    gzipped,
    idx_files,
    write_files,
    write_zip,
)
from tests.whole import read_images, split_stratified

OUTPUTS = ("parquet", "raw", "splits")


def change_params(project, **changes):
    with changed_params(project) as params:
        params["datasets"].update(changes.pop("datasets", {}))
        params.update(changes)


def own_dataset(source, classes=10, test_size=40, validation_size=30):
    return {
        "source": str(source),
        "class_names": [f"class {number}" for number in range(classes)],
        "pictures": "digit",
        "checksums": {},
        "test_size": test_size,
        "validation_size": validation_size,
    }


def use(project, source, **options):
    """Choose a user's own dataset in params.yaml."""
    change_params(project, dataset="mine", datasets={"mine": own_dataset(source, **options)})


def run(project, *stages):
    """Run stages, which must succeed, and return what they wrote to standard error."""
    errors = ""
    for stage in stages:
        done = run_in(project, stage.main)
        assert done.exit_code == 0, done.stderr
        errors += done.stderr
    return errors


@pytest.fixture(scope="module")
def training(few_digits):
    return few_digits.take(np.arange(150))


@pytest.fixture(scope="module")
def testing(few_digits):
    return few_digits.take(np.arange(150, 200))


def test_the_same_digits_give_the_same_parquet_bytes_from_every_format(
    project, tmp_path, training, testing
):
    idx = idx_files("train", training) | idx_files("t10k", testing)
    tables = {
        "mnist_train.csv": csv_bytes(csv_rows(training)),
        "mnist_test.csv": csv_bytes(csv_rows(testing)),
    }
    sources = [
        write_files(tmp_path / "idx", idx),
        write_files(tmp_path / "csv", tables),
        write_zip(tmp_path / "idx.zip", idx),
        write_zip(tmp_path / "csv.zip", tables),
    ]
    written = []
    for source in sources:
        use(project, source)
        assert run(project, download, convert) == ""
        written.append(content_of(project / "data" / "parquet"))
    assert sorted(written[0]) == ["test.parquet", "train.parquet"]
    assert written[1:] == written[:1] * 3
    read, description = read_images(project / "data/parquet/train.parquet")
    np.testing.assert_array_equal(read.images, training.images)
    assert description.dataset == "mine"


def test_a_users_own_dataset_passes_all_stages_and_replaces_earlier_results(
    project, tmp_path, digits
):
    letters = digits.take(np.r_[0:60, 500:540, 1000:1020])
    source = write_files(tmp_path / "letters", idx_files("train", letters))
    use(project, source, classes=3, test_size=30, validation_size=18)
    change_params(project, normalize="standardize")
    for folder in OUTPUTS:
        write_files(project / "data" / folder, {"of an earlier run": b"", "folder/file": b""})
    assert run(project, download, convert, split) == ""
    splits = project / "data" / "splits"
    assert sorted(content_of(project / "data")) == [
        "parquet/test.parquet",
        "parquet/train.parquet",
        "raw/train-images-idx3-ubyte",
        "raw/train-labels-idx1-ubyte",
        "splits/test.parquet",
        "splits/train.parquet",
        "splits/validation.parquet",
    ]
    for name, counts in (("train", [36, 24, 12]), ("validation", [9, 6, 3]), ("test", [15, 10, 5])):
        examples = read_examples(splits / f"{name}.parquet")
        assert np.bincount(examples.labels).tolist() == counts
        assert examples.description.class_names == ("class 0", "class 1", "class 2")
        if name == "train":
            assert abs(examples.inputs.mean()) < 1e-4
            assert abs(examples.inputs.std() - 1) < 1e-4
            normalization = examples.normalization
        assert examples.normalization == normalization
    assert pq.read_schema(splits / "train.parquet").metadata[b"dataset"] == b"mine"


def test_the_seed_chooses_the_test_set_of_a_dataset_without_one(project, few_digits):
    write_files(project / "data/raw", idx_files("train", few_digits))
    use(project, "unused", test_size=40)
    change_params(project, seed=5)
    assert run(project, convert) == ""
    expected = split_stratified(few_digits, 40, 5, "test_size")
    for part, data in zip(("train", "test"), expected, strict=True):
        read, _ = read_images(project / f"data/parquet/{part}.parquet")
        np.testing.assert_array_equal(read.images, data.images)
        np.testing.assert_array_equal(read.labels, data.labels)
    assert np.bincount(read.labels).tolist() == [4] * 10


def test_the_unlabelled_test_set_of_a_competition_is_ignored_with_a_warning(
    project, tmp_path, few_digits
):
    files = {
        "train.csv": csv_bytes(csv_rows(few_digits, "pixel0")),
        "test.csv": csv_bytes(csv_rows(few_digits, "pixel0", labels=False)),
    }
    use(project, write_zip(tmp_path / "digit-recognizer.zip", files))
    (warning,) = run(project, download, convert).splitlines()
    assert warning == "Warning: data/raw/test.csv has no labels and is ignored"
    test, _ = read_images(project / "data/parquet/test.parquet")
    assert len(test) == 40


def test_other_digits_under_a_published_name_are_converted_with_warnings(
    project, training, testing
):
    write_files(project / "data/raw", idx_files("train", training) | idx_files("t10k", testing))
    change_params(project, dataset="mnist")
    warnings = run(project, convert).splitlines()
    assert len(warnings) == 4
    for warning, part in zip(warnings, ("train", "train", "test", "test"), strict=True):
        assert warning.startswith(f"Warning: the {part} split of mnist is not the published one")


@pytest.mark.long
@pytest.mark.full
def test_the_real_sets_are_converted_without_a_warning(project, full_data):
    sources = [str(full_data / "absent"), str(full_data / "mnist")]
    change_params(
        project, dataset="mnist", datasets={"mnist": own_dataset(".") | {"source": sources}}
    )
    (warning,) = run(project, download, convert).splitlines()
    assert warning.startswith(f"Warning: source {full_data / 'absent'} failed: ")
    for part, count in (("train", 60_000), ("test", 10_000)):
        data, description = read_images(project / f"data/parquet/{part}.parquet")
        assert len(data) == count
        assert "verified by sha256" in description.source


def damaged_idx(project, digits):
    files = idx_files("train", digits)
    files["train-images-idx3-ubyte"] = files["train-images-idx3-ubyte"][:-1]
    write_files(project / "data/raw", files)


def damaged_middle_of_long_idx(project, digits):
    """Damage a file of 15,000 images after its first block."""
    many = digits.take(np.resize(np.arange(len(digits)), 15_000))
    files = gzipped(idx_files("train", many))
    name = "train-images-idx3-ubyte.gz"
    content = files[name]
    files[name] = content[: -len(content) // 8] + bytes(99) + content[-len(content) // 8 + 99 :]
    write_files(project / "data/raw", files)


def damaged_middle_of_training_table(project, digits):
    damaged_middle_of_table(project, digits, "train")


def damaged_middle_of_test_table(project, digits):
    """Damage the test set, which is read last, after the other two are written."""
    damaged_middle_of_table(project, digits, "test")


def damaged_middle_of_table(project, digits, split):
    (project / "data/parquet/earlier").unlink()
    description = Description("mnist-5k", ("0", "1"), "made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_file, "ROW_GROUP", 16)
        for name in ("train", "test"):
            write_images(project / f"data/parquet/{name}.parquet", digits, description)
    path = project / f"data/parquet/{split}.parquet"
    content = path.read_bytes()
    middle = len(content) * 3 // 4
    path.write_bytes(content[:middle] + bytes(99) + content[middle + 99 :])
    use(project, "unused")


def too_many_classes(project, digits):
    use(project, "unused", classes=9)
    write_files(project / "data/raw", idx_files("train", digits))


def no_test_size(project, digits):
    use(project, "unused", test_size=None)
    write_files(project / "data/raw", idx_files("train", digits))


def unpaired_labels(project, digits):
    files = idx_files("train", digits) | idx_files("t10k", digits)
    del files["t10k-images-idx3-ubyte"]
    write_files(project / "data/raw", files)


FAILURES = {
    "a missing source": (
        download,
        lambda project, digits: use(project, "nowhere/at all"),
        ["no source works", "nowhere/at all: does not exist, looked for /"],
    ),
    "a misspelt setting": (
        download,
        lambda project, digits: change_params(project, datset="mnist"),
        ["params.yaml: datset is not a setting", "did you mean dataset?"],
    ),
    "a damaged file": (
        convert,
        damaged_idx,
        ["data/raw/train-images-idx3-ubyte must hold 156800 bytes", "got 156799"],
    ),
    "a damaged middle of a long file": (
        convert,
        damaged_middle_of_long_idx,
        ["data/raw/train-images-idx3-ubyte.gz is a damaged gzip file"],
    ),
    "a damaged middle of a table": (
        split,
        damaged_middle_of_training_table,
        ["data/parquet/train.parquet is not a Parquet file of images"],
    ),
    "a damaged middle of the last table": (
        split,
        damaged_middle_of_test_table,
        ["data/parquet/test.parquet is not a Parquet file of images"],
    ),
    "a missing file": (
        convert,
        unpaired_labels,
        ["t10k-labels-idx1-ubyte has no images file of the test set"],
    ),
    "nothing downloaded": (
        convert,
        lambda project, digits: None,
        ["no training set (IDX, CSV, ", "among: earlier"],
    ),
    "a label beyond the classes": (
        convert,
        too_many_classes,
        [
            "the train set of mine must have labels from 0 to 8, one per name in class_names, "
            "got 9 (first such label in row 9)"
        ],
    ),
    "no test_size": (
        convert,
        no_test_size,
        ["datasets.mine.test_size is required", "got null"],
    ),
    "nothing converted": (
        split,
        lambda project, digits: None,
        ["data/parquet/train.parquet does not exist"],
    ),
}


@pytest.mark.parametrize(("stage", "break_it", "words"), FAILURES.values(), ids=FAILURES)
def test_a_failing_stage_prints_one_line_and_keeps_the_earlier_results(
    project, few_digits, stage, break_it, words
):
    for folder in OUTPUTS:
        write_files(project / "data" / folder, {"earlier": folder.encode()})
    break_it(project, few_digits)
    before = content_of(project)
    done = run_in(project, stage.main)
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line
    assert done.stdout == ""
    assert changed(project, before) == []
    assert sorted(path.name for path in (project / "data").iterdir()) == list(OUTPUTS)


def changed(project, before):
    after = content_of(project)
    return [
        name
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name) and "__pycache__" not in name
    ]
