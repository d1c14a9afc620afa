"""Training from a file: every image once per epoch, in an order determined by the seed."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.base.errors import SettingsError
from pipeline.base.params import Augment, VariantSettings
from pipeline.datasets import pixel_file
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.datasets.parquet import open_examples, write_examples
from pipeline.nn import streaming
from pipeline.nn.devices import CPU
from pipeline.nn.streaming import HeldImages, StreamedExamples, hold, training_set
from pipeline.nn.training import Training, make_network
from tests.refusal import refused

COUNT = 1000
SCALE = Normalization("scale", 0.0, 1.0)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    """Set the piece size to 16 rows, so that 1,000 images are many pieces."""
    monkeypatch.setattr(pixel_file, "PIECE", 16)
    monkeypatch.setattr(streaming, "PIECE", 16)


def stored(path, monkeypatch, row_group=64):
    """Write 1,000 examples to a file sorted by class, 100 per class, and open it.

    The first pixel of an image is its number.
    """
    inputs = np.zeros((COUNT, 784), np.float32)
    inputs[:, 0] = np.arange(COUNT)
    labels = (np.arange(COUNT) // 100).astype(np.uint8)
    monkeypatch.setattr(pixel_file, "ROW_GROUP", row_group)
    write_examples(
        path, Examples(inputs, labels, Description("made", tuple("0123456789"), "made"), SCALE)
    )
    return open_examples(path)


@pytest.fixture
def examples(tmp_path, monkeypatch):
    return stored(tmp_path / "x.parquet", monkeypatch)


@dataclass
class Batch:
    inputs: np.ndarray
    labels: np.ndarray

    def __len__(self):
        return len(self.labels)


class Keeper:
    """An engine that stores images unchanged."""

    def hold(self, blocks, count, table):
        assert len(table) == 256
        inputs, labels = map(np.concatenate, zip(*blocks, strict=True))
        assert len(labels) == count
        return Batch(inputs, labels)


def numbers(batch):
    return batch.inputs[:, 0].astype(int).tolist()


def cut(yielded, size):
    """Split several batches that were yielded together."""
    inputs, labels, rows = yielded
    np.testing.assert_array_equal(rows, inputs[:, 0])
    return [
        Batch(inputs[start : start + size], labels[start : start + size])
        for start in range(0, len(labels), size)
    ]


def epoch(examples, buffer, size, seed=0):
    training, rng = StreamedExamples(Keeper(), examples, buffer), np.random.default_rng(seed)
    return [batch for some in training.batches(size, rng) for batch in cut(some, size)]


@pytest.mark.parametrize("row_group", [16, 50, 64, 300, 1000, 5000])
@pytest.mark.parametrize(("buffer", "size"), [(1, 1), (40, 32), (200, 7), (999, 100), (5000, 128)])
def test_an_epoch_yields_every_image_once_with_its_label_in_batches_of_one_size(
    tmp_path, monkeypatch, row_group, buffer, size
):
    batches = epoch(stored(tmp_path / "x", monkeypatch, row_group), buffer, size)
    *full, last = map(len, batches)
    assert set(full) <= {size}
    assert last == (COUNT % size or size)
    seen = [number for batch in batches for number in numbers(batch)]
    assert sorted(seen) == list(range(COUNT))
    labels = np.concatenate([batch.labels for batch in batches])
    np.testing.assert_array_equal(labels, np.array(seen) // 100)
    assert labels.dtype == np.uint8


@pytest.mark.parametrize(("buffer", "size"), [(1, 1), (40, 32), (200, 7), (999, 100)])
def test_several_batches_come_at_a_time_without_filling_memory(examples, buffer, size):
    training = StreamedExamples(Keeper(), examples, buffer)
    *some, _ = (len(labels) for _, labels, _ in training.batches(size, np.random.default_rng(0)))
    assert all(count % size == 0 for count in some)
    assert max(some) < 16 + size


def test_the_engine_trains_on_each_part_in_its_order(examples):
    training = StreamedExamples(Keeper(), examples, 200)
    parts = list(training.parts(32, np.random.default_rng(0)))
    yielded = list(training.batches(32, np.random.default_rng(0)))
    for (held, order, rows), (inputs, labels, numbers) in zip(parts, yielded, strict=True):
        np.testing.assert_array_equal(held.inputs, inputs)
        np.testing.assert_array_equal(held.labels, labels)
        np.testing.assert_array_equal(rows, numbers)
        assert order.tolist() == list(range(len(labels)))


@pytest.mark.parametrize("limit", [1, 15, 64, 65, 500])
def test_a_limit_uses_the_first_images_of_the_file(examples, limit):
    batches = epoch(examples.first(limit), 100, 10)
    assert sorted(number for batch in batches for number in numbers(batch)) == list(range(limit))


def test_the_order_depends_on_the_seed_alone(examples):
    orders = [[numbers(batch) for batch in epoch(examples, 200, 32, seed)] for seed in (0, 0, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2] != orders[3]


def test_every_epoch_has_its_own_order(examples):
    training, rng = StreamedExamples(Keeper(), examples, 200), np.random.default_rng(0)
    first, second = (
        [number for some in training.batches(32, rng) for number in numbers(Batch(*some[:2]))]
        for _ in range(2)
    )
    assert first != second


def test_row_groups_are_not_read_in_file_order(examples):
    firsts = {numbers(epoch(examples, 1, 1, seed)[0])[0] // 64 for seed in range(20)}
    assert len(firsts) > 5


def test_a_batch_is_drawn_from_the_whole_buffer(examples):
    """A buffer of 320 images holds five row groups of 64; the file is sorted by class."""
    groups = [len({number // 64 for number in numbers(b)}) for b in epoch(examples, 320, 32)]
    assert np.mean(groups) > 4
    alone = [len({number // 64 for number in numbers(b)}) for b in epoch(examples, 32, 32)]
    assert np.mean(alone) < 3


def test_a_buffer_of_all_images_shuffles_them_all_together(examples):
    places = np.array(
        [
            np.argsort([n for batch in epoch(examples, COUNT, 100, seed) for n in numbers(batch)])
            for seed in range(40)
        ]
    )
    # Averaged over 40 epochs, every image is at the middle, wherever it is in the file:
    # within 5 standard deviations of the mean of 40 uniform draws.
    assert abs(places.mean(axis=0) - 499.5).max() < 5 * 1000 / np.sqrt(12 * 40)
    neighbours = np.abs(np.diff(places, axis=1)).mean()
    assert neighbours == pytest.approx(COUNT / 3, rel=0.02)


def test_memory_holds_the_buffer_and_not_the_file(examples):
    list(epoch(examples, 64, 8))
    tracemalloc.start()
    for _ in StreamedExamples(Keeper(), examples, 64).parts(8, np.random.default_rng(0)):
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < COUNT * 784 * 4 / 4


@pytest.mark.parametrize(("size", "got"), [(101, "101"), (1000, "all 1000 images")])
def test_a_batch_larger_than_the_buffer_is_an_error_that_names_both_settings(examples, size, got):
    with pytest.raises(
        SettingsError, match=f"batch_size must be at most shuffle_buffer, 100, got {got}"
    ):
        epoch(examples, 100, size)


def test_all_images_can_be_one_batch_if_the_buffer_holds_them(examples):
    (batch,) = epoch(examples, 1000, 1000)
    assert sorted(numbers(batch)) == list(range(COUNT))


def test_a_file_damaged_in_the_middle_stops_the_epoch_with_its_name(examples):
    content = bytearray(examples.file.path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = bytes(300)
    examples.file.path.write_bytes(content)
    with refused(match=r"x\.parquet is not a Parquet file of images"):
        epoch(examples, 100, 10)


def test_a_training_set_is_in_memory_unless_a_buffer_is_set(examples):
    engine = Keeper()
    for whole in (training_set(engine, examples), training_set(engine, examples.read(), 100)):
        assert isinstance(whole, HeldImages)
        np.testing.assert_array_equal(whole.images.inputs[:, 0], np.arange(COUNT))
    assert training_set(engine, examples, 100) == StreamedExamples(engine, examples, 100)
    assert len(training_set(engine, examples.first(7), 100)) == 7


@pytest.fixture
def real(tmp_path, digits, monkeypatch):
    """5,000 real digits in a file with row groups of 512, in random order."""
    mixed = digits.take(np.random.default_rng(0).permutation(5000))
    monkeypatch.setattr(pixel_file, "ROW_GROUP", 512)
    monkeypatch.setattr(pixel_file, "PIECE", 512)
    monkeypatch.setattr(streaming, "PIECE", 512)
    description = Description("mnist-5k", tuple("0123456789"), "real")
    path = tmp_path / "real.parquet"
    write_examples(path, Examples(SCALE.apply(mixed.images), mixed.labels, description, SCALE))
    return open_examples(path)


def trained(examples, buffer, threads=2, **changes):
    values = {"hidden": [32], "lr": 0.1, "batch_size": 32, "epochs": 3}
    settings = VariantSettings(**(values | changes))
    network, rng = make_network(settings, 10, 0)
    engine = CPU.engine(network, settings, threads)
    validation = hold(engine, examples.first(500))
    images = training_set(engine, examples, buffer)
    return network.parameters, list(Training(engine, settings, images, validation, rng).epochs())


def test_training_from_the_file_learns_as_well_as_from_memory(real):
    _, from_memory = trained(real, "all")
    _, from_disk = trained(real, 1024)
    for memory, disk in zip(from_memory, from_disk, strict=True):
        assert disk.train.accuracy == pytest.approx(memory.train.accuracy, abs=0.02)
    assert from_disk[-1].validation.accuracy > 0.9


def test_training_from_the_file_gives_the_same_bytes_on_any_number_of_threads(real):
    alone, reports = trained(real, 1024, threads=1)
    again, same = trained(real, 1024, threads=3)
    assert reports == same
    for name, parameter in alone.items():
        np.testing.assert_array_equal(parameter, again[name])


def test_images_from_the_file_are_distorted_as_those_in_memory(real):
    # With a rate of almost 0 the network stays the same, so the cost of an epoch is the sum of what
    # its images cost in whatever order, each distorted by its number in the file.
    some = real.first(1000)
    changes = {"augment": Augment(rotate=20.0, shift=2.0, elastic=1.0), "dropout": 0.3}
    settings = {"lr": 1e-30, **changes}
    costs = [
        [report.train.cost for report in trained(some, buffer, **settings)[1]]
        for buffer in ("all", 100, 1000)
    ]
    assert costs[0] == pytest.approx(costs[1], rel=1e-6)
    assert costs[0] == pytest.approx(costs[2], rel=1e-6)
    assert len(set(costs[0])) == 3
