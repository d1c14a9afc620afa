import json
import re
import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.base.errors import PipelineError
from pipeline.datasets import pixel_file
from pipeline.datasets.examples import Description, Examples, NormalizedImages
from pipeline.datasets.images import LabelledImages
from pipeline.datasets.parquet import (
    open_examples,
    open_images,
    read_examples,
    write_examples,
    write_images,
)
from pipeline.datasets.pixel_file import ROW_GROUP
from tests.layouts import csv_bytes, csv_rows, gzipped, idx_files, write_files
from tests.refusal import refused
from tests.whole import fit_normalization, read_images, read_raw

DESCRIPTION = Description("clothes", ("T-shirt/top", "Röcke", "Boots"), "made for a test", "as_is")


@pytest.fixture(scope="module")
def examples(few_digits):
    normalization = fit_normalization(few_digits.images, "standardize")
    inputs = normalization.apply(few_digits.images)
    return Examples(inputs, few_digits.labels, DESCRIPTION, normalization)


def test_images_come_back_as_they_were_written(tmp_path, few_digits):
    write_images(tmp_path / "x.parquet", few_digits, DESCRIPTION)
    read, description = read_images(tmp_path / "x.parquet")
    assert read.images.dtype == read.labels.dtype == np.uint8
    np.testing.assert_array_equal(read.images, few_digits.images)
    np.testing.assert_array_equal(read.labels, few_digits.labels)
    assert description == DESCRIPTION


def test_examples_come_back_bit_by_bit_with_their_normalization(tmp_path, examples):
    write_examples(tmp_path / "x.parquet", examples)
    read = read_examples(tmp_path / "x.parquet")
    assert read.inputs.dtype == np.float32
    assert read.inputs.tobytes() == examples.inputs.tobytes()
    np.testing.assert_array_equal(read.labels, examples.labels)
    assert read.normalization == examples.normalization
    assert read.description == DESCRIPTION


def test_more_images_than_a_row_group_keep_their_order(tmp_path):
    rng = np.random.default_rng(0)
    count = 2 * ROW_GROUP + 5
    images = np.zeros((count, 28, 28), np.uint8)
    images[:, 3, 4] = labels = rng.integers(0, 10, count, np.uint8)
    write_images(tmp_path / "x.parquet", LabelledImages(images, labels), DESCRIPTION)
    read, _ = read_images(tmp_path / "x.parquet")
    np.testing.assert_array_equal(read.images, images)
    np.testing.assert_array_equal(read.labels, labels)


class Pieces:
    """A set, raw or normalised, in blocks of the given sizes."""

    def __init__(self, whole, sizes, take):
        ends = np.cumsum(sizes)
        self.whole, self.labels = whole, whole.labels
        self.rows = [rows for rows in np.split(np.arange(len(whole)), ends) if len(rows)]
        self.take = take

    def __getattr__(self, name):
        return getattr(self.whole, name)

    def __len__(self):
        return len(self.whole)

    def blocks(self):
        return (self.take(self.whole, rows) for rows in self.rows)


def take_examples(examples, rows):
    return Examples(
        examples.inputs[rows], examples.labels[rows], examples.description, examples.normalization
    )


@pytest.mark.parametrize("sizes", [[], [1, 2, 3], [50, 50], [64, 64, 64], [130], [63, 1, 64, 65]])
def test_the_bytes_do_not_depend_on_the_sizes_of_the_blocks(
    tmp_path, few_digits, examples, monkeypatch, sizes
):
    monkeypatch.setattr(pixel_file, "ROW_GROUP", 64)
    write_images(tmp_path / "raw", few_digits, DESCRIPTION)
    write_examples(tmp_path / "normalised", examples)
    write_images(tmp_path / "raw2", Pieces(few_digits, sizes, LabelledImages.take), DESCRIPTION)
    write_examples(tmp_path / "normalised2", Pieces(examples, sizes, take_examples))
    for name in ("raw", "normalised"):
        assert (tmp_path / name).read_bytes() == (tmp_path / f"{name}2").read_bytes()
    assert open_examples(tmp_path / "normalised").file.group_rows == (64, 64, 64, 8)


def test_normalising_in_blocks_equals_normalising_at_once(few_digits, examples):
    cut = Pieces(few_digits, [3, 100], LabelledImages.take)
    normalised = NormalizedImages(cut, DESCRIPTION, examples.normalization)
    blocks = list(normalised.blocks())
    assert [len(block) for block in blocks] == [3, 100, 97]
    inputs = np.concatenate([block.inputs for block in blocks])
    np.testing.assert_array_equal(inputs, examples.inputs)
    np.testing.assert_array_equal(normalised.labels, examples.labels)


@pytest.fixture(params=[64, 100, 1000], ids="row groups of {}".format)
def stored(request, tmp_path, examples, monkeypatch):
    """200 examples in a file, read 32 at a time."""
    monkeypatch.setattr(pixel_file, "ROW_GROUP", request.param)
    monkeypatch.setattr(pixel_file, "PIECE", 32)
    write_examples(tmp_path / "x.parquet", examples)
    return open_examples(tmp_path / "x.parquet")


@pytest.mark.parametrize("count", [None, 1, 31, 32, 64, 65, 150, 200, 201])
def test_reading_in_blocks_equals_reading_the_whole_file(stored, examples, count):
    expected = examples.first(count)
    first = stored.first(count)
    blocks = list(first.blocks())
    assert len(first) == len(expected)
    assert all(len(block) == 32 for block in blocks[:-1])
    for read in (first.read(), *blocks):
        assert read.description == DESCRIPTION
        assert read.normalization == examples.normalization
    for name in ("inputs", "labels"):
        in_blocks = np.concatenate([getattr(block, name) for block in blocks])
        np.testing.assert_array_equal(in_blocks, getattr(expected, name))
        np.testing.assert_array_equal(getattr(first.read(), name), getattr(expected, name))
    np.testing.assert_array_equal(first.labels, expected.labels)


@pytest.mark.parametrize("count", [None, 1, 64, 65, 150])
def test_shuffled_blocks_hold_every_example_once_with_row_groups_in_random_order(
    stored, examples, count
):
    expected = examples.first(count)
    orders = set()
    for seed in range(10):
        blocks = list(stored.first(count).shuffled_blocks(np.random.default_rng(seed)))
        for row, block in blocks:
            np.testing.assert_array_equal(block.inputs, examples.inputs[row : row + len(block)])
        inputs = np.concatenate([block.inputs for _, block in blocks])
        assert sorted(map(bytes, inputs)) == sorted(map(bytes, expected.inputs))
        orders.add(inputs.tobytes())
    groups = -(-len(expected) // stored.file.group_rows[0])
    assert (len(orders) > 1) == (groups > 1)


def test_a_reader_that_stops_early_leaves_no_thread(stored):
    before = threading.active_count()
    blocks = stored.blocks()
    next(blocks)
    assert threading.active_count() == before + 1
    blocks.close()
    assert threading.active_count() == before


def test_any_parquet_reader_sees_columns_and_metadata(tmp_path, few_digits, examples):
    write_images(tmp_path / "raw.parquet", few_digits, DESCRIPTION)
    write_examples(tmp_path / "normalised.parquet", examples)
    for name, kind in (("raw", pa.uint8()), ("normalised", pa.float32())):
        table = pq.read_table(tmp_path / f"{name}.parquet")
        assert table.column_names == ["label", "image"]
        assert table.schema.field("image").type.value_type == kind
        assert table["image"].type.list_size == 784
        metadata = table.schema.metadata
        assert metadata[b"dataset"] == b"clothes"
        assert json.loads(metadata[b"shape"]) == [28, 28]
        assert json.loads(metadata[b"class_names"]) == ["T-shirt/top", "Röcke", "Boots"]
        assert metadata[b"source"] == b"made for a test"
    assert json.loads(metadata[b"normalization"])["method"] == "standardize"
    row = pq.read_table(tmp_path / "raw.parquet").slice(7, 1).to_pylist()[0]
    assert row["label"] == few_digits.labels[7]
    assert row["image"] == few_digits.images[7].reshape(-1).tolist()


def test_the_same_content_gives_the_same_bytes_and_different_content_does_not(
    tmp_path, few_digits, examples
):
    for number in (1, 2):
        write_images(tmp_path / f"raw{number}", few_digits, DESCRIPTION)
        write_examples(tmp_path / f"normalised{number}", examples)
    write_images(tmp_path / "raw3", few_digits.take(np.arange(200)[::-1]), DESCRIPTION)
    content = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert content["raw1"] == content["raw2"] != content["raw3"]
    assert content["normalised1"] == content["normalised2"]


def test_idx_and_csv_of_the_same_digits_give_the_same_parquet_bytes(tmp_path, few_digits):
    wrappings = {
        "idx": idx_files("train", few_digits),
        "gzip": gzipped(idx_files("train", few_digits)),
        "header": {"train.csv": csv_bytes(csv_rows(few_digits, "pixel0", label_at=5))},
        "none": {"mnist_train.csv": csv_bytes(csv_rows(few_digits, None), "\n")},
    }
    written = []
    for name, files in wrappings.items():
        splits, _ = read_raw(write_files(tmp_path / name, files))
        write_images(tmp_path / f"{name}.parquet", splits["train"], DESCRIPTION)
        written.append((tmp_path / f"{name}.parquet").read_bytes())
    assert len(set(written)) == 1


def test_normalised_examples_take_no_more_space_than_the_pixels(tmp_path, digits):
    normalization = fit_normalization(digits.images, "standardize")
    inputs = normalization.apply(digits.images)
    write_images(tmp_path / "raw", digits, DESCRIPTION)
    write_examples(
        tmp_path / "normalised", Examples(inputs, digits.labels, DESCRIPTION, normalization)
    )
    raw, normalised = ((tmp_path / name).stat().st_size for name in ("raw", "normalised"))
    assert normalised < raw < digits.images.nbytes / 2


def test_the_first_examples_keep_their_normalization(examples):
    first = examples.first(3)
    assert len(first) == 3
    np.testing.assert_array_equal(first.inputs, examples.inputs[:3])
    assert first.normalization == examples.normalization
    assert len(examples.first(None)) == len(examples.first(10**9)) == len(examples) == 200


def write_table(path, columns, metadata=None):
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def pixels(count=784, kind=np.uint8):
    return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(2 * count, kind)), count)


LABELS = pa.array([1, 2], pa.uint8())
SAYS = {"dataset": "x", "class_names": '["a", "b"]', "source": "x", "pictures": "digit"}
OTHERS = {
    "other columns": ({"a": [1, 2]}, SAYS, "columns label: uint8, image: uint8[784]"),
    "columns swapped": ({"image": pixels(), "label": LABELS}, SAYS, "columns label"),
    "another size": ({"label": LABELS, "image": pixels(64)}, SAYS, "image: uint8[784]"),
    "floats": ({"label": LABELS, "image": pixels(kind=np.float32)}, SAYS, "image: uint8[784]"),
    "wide labels": ({"label": pa.array([1, 2]), "image": pixels()}, SAYS, "label: uint8"),
    "lists of any size": (
        {"label": LABELS, "image": pa.array([[1], [2]], pa.list_(pa.uint8()))},
        SAYS,
        "image: uint8[784]",
    ),
    "no metadata": ({"label": LABELS, "image": pixels()}, None, "has no description in its"),
    "half the metadata": (
        {"label": LABELS, "image": pixels()},
        {"dataset": "x"},
        "has no description in its metadata",
    ),
    "class names that are no list": (
        {"label": LABELS, "image": pixels()},
        SAYS | {"class_names": "ten"},
        "has no description in its metadata",
    ),
    "pictures of an unknown kind": (
        {"label": LABELS, "image": pixels()},
        SAYS | {"pictures": "round"},
        "has no description in its metadata",
    ),
}


@pytest.mark.parametrize(("columns", "metadata", "words"), OTHERS.values(), ids=OTHERS)
def test_a_file_of_another_schema_is_refused_with_its_name(tmp_path, columns, metadata, words):
    path = tmp_path / "other.parquet"
    write_table(path, columns, metadata)
    with refused(path, words):
        read_images(path)


def test_raw_images_are_not_read_as_examples_and_vice_versa(tmp_path, few_digits, examples):
    write_images(tmp_path / "raw", few_digits, DESCRIPTION)
    write_examples(tmp_path / "normalised", examples)
    with refused(tmp_path / "raw", "image: float[784]"):
        read_examples(tmp_path / "raw")
    with refused(tmp_path / "normalised", "image: uint8[784]"):
        read_images(tmp_path / "normalised")


def test_examples_without_their_normalization_are_refused(tmp_path):
    path = tmp_path / "x.parquet"
    for metadata in (SAYS, SAYS | {"normalization": '{"method": "scale"}'}):
        write_table(path, {"label": LABELS, "image": pixels(kind=np.float32)}, metadata)
        with refused(path, "no normalization"):
            read_examples(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: b"label,image\n" * 100,
        lambda content: content[:-1],
        lambda content: content[: len(content) // 2],
        lambda content: content[:4] + bytes(2000) + content[2004:],
        lambda content: content[:-1000] + bytes(900) + content[-100:],
    ],
    ids=["empty", "text", "a byte short", "half", "no first page", "no footer"],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, few_digits, damage):
    path = tmp_path / "x.parquet"
    write_images(path, few_digits, DESCRIPTION)
    path.write_bytes(damage(path.read_bytes()))
    with refused(path, "is not a Parquet file of images"):
        read_images(path)


def damage_middle(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = bytes(500)
    path.write_bytes(content)


def test_damage_in_the_middle_is_reported_when_its_block_is_read(stored):
    damage_middle(stored.file.path)
    with refused(stored.file.path, "is not a Parquet file of images"):
        list(stored.blocks())
    with refused(stored.file.path, "is not a Parquet file of images"):
        list(stored.shuffled_blocks(np.random.default_rng(0)))
    if len(stored.file.group_rows) > 1:
        assert len(next(stored.blocks())) == 32


def test_a_file_shorter_than_its_footer_states_is_refused(stored):
    *rows, last = stored.file.group_rows
    longer = replace(stored.file, group_rows=(*rows, last + 3))
    with refused(stored.file.path, "ends 3 rows too early"):
        replace(stored, file=longer, count=203).read()


@pytest.mark.parametrize(
    "columns",
    [
        {"label": pa.array([1, None], pa.uint8()), "image": pixels()},
        {
            "label": LABELS,
            "image": pa.array([[0] * 784, None], pa.list_(pa.uint8(), 784)),
        },
        {
            "label": LABELS,
            "image": pa.array([[0] * 784, [None] * 784], pa.list_(pa.uint8(), 784)),
        },
    ],
    ids=["label", "image", "pixel"],
)
def test_a_missing_value_is_refused(tmp_path, columns):
    write_table(tmp_path / "x.parquet", columns, SAYS)
    with refused(tmp_path / "x.parquet") as caught:
        read_images(tmp_path / "x.parquet")
    # pyarrow 18 cannot read the file with a missing image that it wrote.
    assert re.search("got nulls|index 2 had size=0", str(caught.value))


def test_a_missing_label_is_refused_when_only_labels_are_read(tmp_path):
    columns = {"label": pa.array([1, None], pa.uint8()), "image": pixels()}
    write_table(tmp_path / "x.parquet", columns, SAYS)
    with refused(tmp_path / "x.parquet", "got nulls"):
        _ = open_images(tmp_path / "x.parquet").labels


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with refused(tmp_path / "absent.parquet", "does not exist"):
        read_examples(tmp_path / "absent.parquet")


def test_a_folder_in_the_way_is_named_and_nothing_is_left_beside_it(tmp_path, few_digits):
    (tmp_path / "x.parquet").mkdir()
    with refused(error=PipelineError, match=r"x\.parquet cannot be written"):
        write_images(tmp_path / "x.parquet", few_digits, DESCRIPTION)
    assert [path.name for path in tmp_path.iterdir()] == ["x.parquet"]
