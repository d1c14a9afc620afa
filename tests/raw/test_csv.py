import gzip

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.datasets.images import LabelledImages, check_labels
from pipeline.raw import csv
from pipeline.raw.csv import csv_blocks, csv_contents
from pipeline.raw.layout import read_layout
from tests.layouts import csv_bytes, csv_rows
from tests.refusal import refused
from tests.whole import READING, collect, read_csv


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("csv") / "digits.csv"


def assert_same(read, data):
    assert read.images.dtype == read.labels.dtype == np.uint8
    np.testing.assert_array_equal(read.images, data.images)
    np.testing.assert_array_equal(read.labels, data.labels)


@pytest.mark.parametrize("eol", ["\r\n", "\n"], ids=["crlf", "lf"])
@pytest.mark.parametrize(
    ("header", "label_at"),
    [("1x1", 0), ("pixel1", 0), ("pixel0", 0), ("pixel0", 784), ("1x1", 300), (None, 0)],
)
def test_every_layout_gives_the_same_images(path, few_digits, header, label_at, eol):
    path.write_bytes(csv_bytes(csv_rows(few_digits, header, label_at), eol))
    assert_same(read_csv(path), few_digits)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.removesuffix(b"\n"),
        lambda content: content + b"\n\n",
        lambda content: b"\xef\xbb\xbf" + content,
        lambda content: content.replace(b",", b", "),
        lambda content: content.replace(b"label", b'"label"'),
    ],
    ids=["no final newline", "blank lines at the end", "byte order mark", "spaces", "quotes"],
)
@pytest.mark.parametrize("header", ["pixel1", None])
def test_artefacts_of_spreadsheets_are_tolerated(path, few_digits, header, change):
    path.write_bytes(change(csv_bytes(csv_rows(few_digits, header), "\n")))
    assert_same(read_csv(path), few_digits)


def test_a_gzip_file_gives_the_same_images(tmp_path, few_digits):
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(gzip.compress(csv_bytes(csv_rows(few_digits))))
    assert_same(read_csv(path), few_digits)


def test_a_file_of_many_blocks_keeps_its_order(path, digits):
    data = digits.take(np.random.default_rng(0).permutation(5000))
    content = csv_bytes(csv_rows(data, None))
    assert len(content) > 8 << 20
    path.write_bytes(content)
    assert_same(read_csv(path), data)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of a few rows, so that 200 digits fill many."""
    monkeypatch.setattr(csv, "BLOCK", 20_000)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_reading_in_blocks_equals_reading_the_whole_file(tmp_path, few_digits, suffix):
    path = tmp_path / f"digits.csv{suffix}"
    content = csv_bytes(csv_rows(few_digits))
    path.write_bytes(gzip.compress(content) if suffix else content)
    blocks = list(csv_blocks(path, READING))
    assert len(blocks) > 10
    assert max(map(len, blocks)) < 50
    assert_same(collect(blocks), few_digits)


@pytest.mark.usefixtures("small_blocks")
def test_a_bad_row_in_the_middle_is_reported_when_its_block_is_read(path, few_digits):
    rows = csv_rows(few_digits)
    rows[150][400] = "text"
    path.write_bytes(csv_bytes(rows))
    blocks = csv_blocks(path, READING)
    np.testing.assert_array_equal(next(blocks).images[0], few_digits.images[0])
    with refused(path, "got 'text'", "row 151, column 401"):
        list(blocks)


@given(
    images=arrays(np.uint8, st.tuples(st.integers(1, 4), st.just(28), st.just(28))),
    header=st.sampled_from(["1x1", "pixel0"]),
    eol=st.sampled_from(["\n", "\r\n"]),
)
def test_any_images_survive_a_csv_file(path, images, header, eol):
    data = LabelledImages(images, images[:, 0, 0])
    path.write_bytes(csv_bytes(csv_rows(data, header), eol))
    assert_same(read_csv(path), data)


def test_a_table_says_whether_it_has_labels(path, few_digits):
    for header, labels in (("pixel0", True), (None, True), ("pixel0", False), (None, False)):
        path.write_bytes(csv_bytes(csv_rows(few_digits, header, labels=labels)))
        (table,) = csv_contents(path)
        assert table.labelled == labels


@pytest.mark.parametrize("header", ["pixel0", None], ids=["header", "no header"])
@pytest.mark.parametrize("value", ["text", "256", "-1", "12.5", "", "9" * 50])
@pytest.mark.parametrize("row", [0, 150, 199])
def test_an_invalid_pixel_is_refused_with_its_position(path, few_digits, value, row, header):
    rows = csv_rows(few_digits, header)
    line = row + (header is not None)
    rows[line][400] = value
    path.write_bytes(csv_bytes(rows))
    with refused(path, "whole numbers from 0 to 255", value[:40], f"row {line + 1}, column 401"):
        read_csv(path)


def test_text_among_numbers_with_a_point_is_refused_with_its_position(path, few_digits):
    rows = [rows[:1] + [f"{value}.0" for value in rows[1:]] for rows in csv_rows(few_digits, None)]
    rows[150][400] = "text"
    path.write_bytes(csv_bytes(rows))
    with refused(path, "must hold numbers, got 'text' in row 151, column 401"):
        read_csv(path)


def test_an_invalid_label_is_refused_with_its_position(path, few_digits):
    rows = csv_rows(few_digits)
    rows[5][0] = "seven"
    path.write_bytes(csv_bytes(rows))
    with refused(path, "got 'seven'", "row 6, column 1"):
        read_csv(path)


@pytest.mark.parametrize("header", ["pixel0", None], ids=["header", "no header"])
@pytest.mark.parametrize(("cells", "columns"), [(slice(-1), 784), (slice(1), 1)])
def test_a_short_row_is_refused_with_its_number(path, few_digits, header, cells, columns):
    rows = csv_rows(few_digits, header)
    rows[100] = rows[100][cells]
    path.write_bytes(csv_bytes(rows))
    with refused(path, "785 columns in every row", f"got {columns} in row 101"):
        read_csv(path)


def test_a_long_row_is_refused_with_its_number(path, few_digits):
    rows = csv_rows(few_digits)
    rows[100].append("0")
    path.write_bytes(csv_bytes(rows))
    with refused(path, "785 columns in every row", "got 786 in row 101"):
        read_csv(path)


def test_a_file_that_ends_within_a_row_is_refused(path, few_digits):
    path.write_bytes(csv_bytes(csv_rows(few_digits))[:-100])
    with refused(path, "785 columns in every row", "in row 201"):
        read_csv(path)


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\n"])
def test_an_empty_file_is_refused(path, content):
    path.write_bytes(content)
    with refused(path, "has no rows"):
        read_csv(path)


@pytest.mark.parametrize("eol", ["\r\n", "\n", ""])
def test_a_header_alone_is_refused(path, few_digits, eol):
    path.write_bytes(csv_bytes(csv_rows(few_digits)[:1], eol))
    with refused(path, "has no rows"):
        read_csv(path)


@pytest.mark.parametrize(
    ("rename", "words"),
    [
        (lambda names: ["number", *names[1:]], ["column named label", "got number"]),
        (lambda names: ["label", *names[2:], "pixel5"], ["a column twice"]),
        (lambda names: ["label", "label", *names[2:]], ["a column twice"]),
        (lambda names: names[:-1], ["785 columns (label and pixels), got 784 | "]),
        (lambda names: [*names, "extra"], ["got 786, 1 of them neither label nor pixel: extra | "]),
    ],
    ids=["no label", "a pixel twice", "label twice", "too narrow", "too wide"],
)
def test_a_wrong_header_is_refused(path, few_digits, rename, words):
    names, *rows = csv_rows(few_digits, "pixel0")
    path.write_bytes(csv_bytes([rename(names), *rows]))
    with refused(path) as caught:
        read_csv(path)
    for word in words:
        assert word in f"{caught.value} | "


def test_a_pixel_may_be_called_by_any_number(path, few_digits):
    names, *rows = csv_rows(few_digits, "pixel0")
    path.write_bytes(csv_bytes([[*names[:-1], "9" * 5000], *rows]))
    assert_same(read_csv(path), few_digits)


def test_smaller_images_without_a_header_are_refused(path, few_digits):
    path.write_bytes(csv_bytes([row[:65] for row in csv_rows(few_digits, None)]))
    with refused(path, "785 columns", "got 65"):
        read_csv(path)


def test_what_the_parser_says_of_anything_else_is_passed_on():
    said = csv._reason("CSV parse error: something new\nand more", pa.uint8())
    assert said == "is not a table of numbers: CSV parse error: something new"


def test_a_file_that_goes_away_between_two_readings_is_named(tmp_path, few_digits):
    path = tmp_path / "digits.csv"
    path.write_bytes(csv_bytes(csv_rows(few_digits)))
    layout = read_layout(path)
    path.unlink()
    with refused(match=r"digits\.csv cannot be read: .*No such file"):
        list(csv._parse(path, layout, [0], pa.uint8()))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: content[:-4],
        lambda content: content[:-8] + bytes(4) + content[-4:],
        lambda content: gzip.decompress(content),
    ],
    ids=["half", "no size", "wrong checksum", "not compressed"],
)
def test_a_damaged_gzip_file_is_refused(tmp_path, few_digits, damage):
    path = tmp_path / "digits.csv.gz"
    path.write_bytes(damage(gzip.compress(csv_bytes(csv_rows(few_digits)))))
    with refused(path, "is a damaged gzip file"):
        read_csv(path)


@pytest.mark.parametrize("after", [0, 10, 3000])
def test_an_unclosed_quote_swallows_no_rows(path, after):
    row = b"0," * 784 + b"0\n"
    path.write_bytes(row * 3 + b'"' + row * after)
    with refused(path):
        read_csv(path)


def test_numbers_in_quotes_are_read_as_numbers(path, few_digits):
    rows = [[f'"{cell}"' for cell in row] for row in csv_rows(few_digits)]
    path.write_bytes(csv_bytes(rows))
    assert_same(read_csv(path), few_digits)


def test_other_kinds_of_files_and_missing_files_are_refused(tmp_path):
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\r\n\x1a\n\0\xff")
    for name, word in (("picture.csv", "is not text"), ("absent.csv", "No such file")):
        with refused(tmp_path / name, word):
            read_csv(tmp_path / name)


def test_a_label_beyond_the_classes_is_refused_with_its_row():
    with refused("digits", "labels from 0 to 9", "got 10", "row 2"):
        check_labels("digits", np.array([0, 9, 10, 3], np.uint8), 10)


def test_an_empty_set_is_refused():
    with refused("digits has no images"):
        check_labels("digits", np.empty(0, np.uint8), 10)


def test_labels_below_the_number_of_classes_pass(few_digits):
    check_labels("digits", few_digits.labels, 10)
