import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.raw import idx
from pipeline.raw.idx import count_idx_images, idx_image_blocks, read_idx_labels, write_idx
from tests.refusal import refused
from tests.whole import read_idx_images

IMAGES_MAGIC, LABELS_MAGIC = b"\0\0\x08\x03", b"\0\0\x08\x01"


def images_file(count, content, rows=28, columns=28, magic=IMAGES_MAGIC):
    return magic + struct.pack(">III", count, rows, columns) + content


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "train-images-idx3-ubyte"


@given(arrays(np.uint8, st.tuples(st.integers(0, 6), st.just(28), st.just(28))))
def test_images_come_back_as_they_were_written(path, images):
    write_idx(path, images)
    read = read_idx_images(path)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, images)


@given(arrays(np.uint8, st.integers(0, 300)))
def test_labels_come_back_as_they_were_written(path, labels):
    write_idx(path, labels)
    np.testing.assert_array_equal(read_idx_labels(path), labels)


def test_a_view_of_images_is_written_in_its_own_order(path, few_digits):
    write_idx(path, few_digits.images[::-2])
    np.testing.assert_array_equal(read_idx_images(path), few_digits.images[::-2])


def test_the_written_file_has_the_published_layout(path):
    write_idx(path, np.arange(2 * 784, dtype=np.uint16).astype(np.uint8).reshape(2, 28, 28))
    content = path.read_bytes()
    assert content[:16].hex() == "00000803000000020000001c0000001c"
    assert content[16:20] == bytes([0, 1, 2, 3])
    assert len(content) == 16 + 2 * 784


@pytest.mark.parametrize(
    ("name", "compress"),
    [
        ("t10k-images-idx3-ubyte", False),
        ("t10k-images.idx3-ubyte", False),
        ("t10k-images-idx3-ubyte.gz", True),
        ("gzip without its suffix", True),
        ("plain with a suffix.gz", False),
    ],
)
def test_compression_is_detected_by_content_not_by_name(tmp_path, few_digits, name, compress):
    path = tmp_path / name
    write_idx(path, few_digits.images)
    if compress:
        path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_idx_images(path), few_digits.images)


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("rows", [1, 7, 100, 199, 200, 201])
def test_reading_in_blocks_equals_reading_the_whole_file(
    path, few_digits, monkeypatch, rows, compress
):
    monkeypatch.setattr(idx, "CHUNK", rows * 784 + 783)
    write_idx(path, few_digits.images)
    if compress:
        path.write_bytes(gzip.compress(path.read_bytes()))
    blocks = list(idx_image_blocks(path))
    assert [len(block) for block in blocks[:-1]] == [rows] * (len(blocks) - 1)
    assert len(blocks) == -(-200 // rows)
    np.testing.assert_array_equal(np.concatenate(blocks), few_digits.images)
    assert count_idx_images(path) == 200


def test_a_damaged_end_is_reported_when_its_block_is_read(path, few_digits, monkeypatch):
    monkeypatch.setattr(idx, "CHUNK", 50 * 784)
    write_idx(path, few_digits.images)
    whole = path.read_bytes()
    for content in (whole[:-1], whole + b"0"):
        path.write_bytes(content)
        blocks = idx_image_blocks(path)
        np.testing.assert_array_equal(next(blocks), few_digits.images[:50])
        with refused(path, "must hold 156800 bytes after its header of 200 items"):
            list(blocks)


DAMAGED = {
    "another type of number": (
        images_file(1, bytes(784), magic=b"\0\0\x0d\x03"),
        ["00000803", "got 00000d03"],
    ),
    "labels": (LABELS_MAGIC + struct.pack(">I", 784) + bytes(784), ["00000803", "got 00000801"]),
    "text": (b"label,1x1,1x2", ["00000803", "got 6c616265"]),
    "nothing": (b"", ["00000803", "got an empty file"]),
    "a header that stops": (images_file(1, b"")[:10], ["truncated in its header"]),
    "a header alone": (images_file(1, b""), ["784 bytes", "1 items", "got 0"]),
    "a body that stops": (images_file(3, bytes(3 * 784 - 1)), ["2352 bytes", "got 2351"]),
    "a body that goes on": (images_file(3, bytes(3 * 784 + 1)), ["2352 bytes", "got more"]),
    "narrow images": (images_file(1, bytes(27 * 28), 27, 28), ["28x28", "got 27x28"]),
    "transposed sizes": (images_file(28, bytes(28 * 28), 28, 1), ["28x28", "got 28x1"]),
    "2^31 images": (images_file(2**31, bytes(784)), [f"{2**31 * 784} bytes", "got 784"]),
}


@pytest.mark.parametrize("compress", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(("content", "words"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused_with_its_name_the_rule_and_the_value(
    tmp_path, content, words, compress
):
    path = tmp_path / "damaged"
    path.write_bytes(gzip.compress(content) if compress else content)
    with refused(path, *words):
        read_idx_images(path)


def test_too_many_or_too_few_labels_are_refused(path):
    for count in (3, 5, 2**32 - 1):
        path.write_bytes(LABELS_MAGIC + struct.pack(">I", count) + bytes(4))
        with refused(path, f"{count} bytes"):
            read_idx_labels(path)


@pytest.mark.parametrize("keep", [3, 12, 100, -9, -4, -1])
def test_a_truncated_gzip_file_is_refused_with_its_name(path, few_digits, keep):
    write_idx(path, few_digits.images)
    path.write_bytes(gzip.compress(path.read_bytes())[:keep])
    with refused(path, "damaged gzip file"):
        read_idx_images(path)


@pytest.mark.parametrize(
    "position", [2, 10, 1000, -6, -1], ids=["method", "block", "data", "checksum", "size"]
)
def test_a_corrupt_gzip_file_is_refused_with_its_name(path, few_digits, position):
    write_idx(path, few_digits.images)
    content = bytearray(gzip.compress(path.read_bytes()))
    content[position] ^= 0xFF
    path.write_bytes(content)
    with refused(path):
        read_idx_images(path)


def test_a_missing_file_and_a_folder_are_refused_with_their_names(tmp_path):
    with refused(tmp_path / "absent", "No such file"):
        read_idx_images(tmp_path / "absent")
    with refused(tmp_path, "directory"):
        read_idx_labels(tmp_path)
