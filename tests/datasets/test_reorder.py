import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets import reorder
from pipeline.datasets.images import LabelledImages
from pipeline.datasets.reorder import Scratch
from tests.refusal import refused
from tests.whole import collect, split_stratified


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scratch")


@pytest.fixture(autouse=True, scope="module")
def _small_bins():
    """Bins of 16 images, so that a few hundred images fill many."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reorder, "ROW_GROUP", 16)
        yield


class InBlocks:
    """A set in memory, in blocks that end at `cuts`."""

    def __init__(self, data, cuts):
        self.data, self.labels, self.cuts = data, data.labels, cuts

    def __len__(self):
        return len(self.data)

    def blocks(self):
        yield from map(self.data.take, np.split(np.arange(len(self.data)), sorted(self.cuts)))


def assert_same(read, data):
    whole = collect(read.blocks())
    np.testing.assert_array_equal(whole.images, data.images)
    np.testing.assert_array_equal(whole.labels, data.labels)
    np.testing.assert_array_equal(read.labels, data.labels)
    assert len(read) == len(data)


cuts = st.lists(st.integers(0, 200), max_size=8)


@given(cuts)
def test_stored_images_can_be_read_repeatedly_in_order(folder, few_digits, cuts):
    with Scratch(folder) as scratch:
        stored = scratch.store(InBlocks(few_digits, cuts).blocks())
        assert_same(stored, few_digits)
        assert_same(stored, few_digits)
        assert max(map(len, stored.blocks())) == 16


def test_storing_nothing_gives_an_empty_set(folder):
    with Scratch(folder) as scratch:
        assert len(collect(scratch.store([]).blocks())) == 0


@settings(max_examples=20)
@given(cuts, st.lists(st.integers(0, 200), max_size=3), st.integers(0, 99))
def test_reordering_into_parts_equals_indexing_in_memory(folder, few_digits, cuts, ends, seed):
    order = np.random.default_rng(seed).permutation(200).astype(np.uint32)
    parts = np.split(order, sorted(ends))
    with Scratch(folder) as scratch:
        reordered = scratch.reorder(InBlocks(few_digits, cuts), parts)
        for part, rows in zip(reordered, parts, strict=True):
            assert_same(part, few_digits.take(rows))


@settings(max_examples=20)
@given(cuts, st.integers(10, 190), st.integers(0, 2**32 - 1))
def test_splitting_on_disk_equals_splitting_in_memory(folder, few_digits, cuts, size, seed):
    expected = split_stratified(few_digits, size, seed, "size")
    with Scratch(folder) as scratch:
        parts = scratch.split(InBlocks(few_digits, cuts), size, seed, "size")
        for part, data in zip(parts, expected, strict=True):
            assert_same(part, data)


def test_parts_can_be_read_alternately(folder, few_digits):
    with Scratch(folder) as scratch:
        parts = scratch.split(few_digits, 100, 0, "size")
        in_turns = zip(*(part.blocks() for part in parts), strict=True)
        rest, part = map(collect, zip(*in_turns, strict=True))
    for read, data in zip((rest, part), split_stratified(few_digits, 100, 0, "size"), strict=True):
        np.testing.assert_array_equal(read.images, data.images)


MISTAKES = {
    "a pixel": lambda part: (part.file.seek(part.first * 788 + 400), part.file.write(b"\7")),
    "a place": lambda part: (part.file.seek(part.first * 788), part.file.write(b"\xff")),
    "two labels exchanged": lambda part: part.labels.sort(),
    "one label": lambda part: part.labels.__setitem__(0, part.labels[0] + 1),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_the_machine_is_noticed(folder, few_digits, mistake):
    with Scratch(folder) as scratch:
        stored = scratch.store(few_digits.blocks())
        for part in (stored, *scratch.split(few_digits, 100, 0, "size")):
            collect(part.blocks())
            MISTAKES[mistake](part)
            with refused("images or labels changed while they were put in a new order"):
                collect(part.blocks())


def test_the_folder_shows_no_scratch_file_and_keeps_none(tmp_path, few_digits):
    with Scratch(tmp_path) as scratch:
        stored = scratch.store(few_digits.blocks())
        assert list(tmp_path.iterdir()) == []
        assert len(list(stored.blocks())) == 13
    assert list(tmp_path.iterdir()) == []
    assert stored.file.closed


def test_an_error_while_reading_leaves_no_file(tmp_path, few_digits):
    def broken():
        yield few_digits
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"), Scratch(tmp_path) as scratch:
        scratch.store(broken())
    assert list(tmp_path.iterdir()) == []


def test_memory_holds_a_few_bytes_per_image_but_no_pixels(folder):
    count = 30_000
    empty = LabelledImages(np.zeros((1, 28, 28), np.uint8), np.zeros(1, np.uint8))
    labels = np.zeros(count, np.uint8)

    class Many:
        """The same black image, repeated."""

        def __init__(self):
            self.labels = labels

        def __len__(self):
            return count

        def blocks(self):
            for start in range(0, count, 500):
                yield empty.take(np.zeros(min(500, count - start), np.intp))

    order = np.arange(count, dtype=np.uint32)[::-1]
    with Scratch(folder) as scratch:
        tracemalloc.start()
        scratch.reorder(Many(), [order])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 3_000_000 + 10 * count < empty.images.nbytes * count / 6
