import numpy as np
import pytest

from pipeline.errors import TrainingError
from pipeline.nn.backend import CPU
from pipeline.nn.batches import Batch, put_batch
from pipeline.nn.parallel import Workers
from pipeline.nn.training import make_network, score, train
from pipeline.params import VariantSettings, read_params
from tests.conftest import ROOT

VARIANTS = list(read_params(ROOT / "params.yaml").variants)


def settings_of(**changes):
    values = {"hidden": [16], "lr": 0.1, "batch_size": 32, "epochs": 3}
    return VariantSettings(**(values | changes))


@pytest.fixture(scope="module")
def batches(digits):
    """1,300 images to train on, so that full batches have several tiles, and 200 to validate on."""
    rows = np.random.default_rng(0).permutation(5000)[:1500]
    inputs = (digits.images[rows].reshape(-1, 784) / 255).astype(np.float32)
    labels = digits.labels[rows]
    return (
        put_batch(CPU, inputs[:1300], labels[:1300]),
        put_batch(CPU, inputs[1300:], labels[1300:]),
    )


def run(settings, batches, seed=0, threads=1):
    """Give the trained network's bytes and the reports."""
    network, rng = make_network(settings, 10, seed, CPU)
    with Workers(CPU, threads) as workers:
        reports = list(train(network, settings, *batches, rng, workers))
    return b"".join(p.tobytes() for p in network.parameters.values()), reports


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_ends_with_the_same_bytes_on_any_number_of_threads(variant, batches):
    settings = read_params(ROOT / "params.yaml").variant(variant).model_copy(update={"epochs": 2})
    alone, reports = run(settings, batches, threads=1)
    for threads in (2, 3, 8):
        assert run(settings, batches, threads=threads) == (alone, reports)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(batches):
    settings = settings_of()
    assert run(settings, batches, seed=1) == run(settings, batches, seed=1)
    assert run(settings, batches, seed=1)[0] != run(settings, batches, seed=2)[0]


def test_another_batch_size_starts_from_the_same_weights():
    first, _ = make_network(settings_of(batch_size=32), 10, 0, CPU)
    second, _ = make_network(settings_of(batch_size="all"), 10, 0, CPU)
    for name, parameter in first.parameters.items():
        np.testing.assert_array_equal(parameter, second.parameters[name])


def test_an_epoch_of_mini_batches_sees_every_image_once(batches):
    training, validation = batches
    seen = []
    settings = settings_of(epochs=1, batch_size=32)
    network, rng = make_network(settings, 10, 0, CPU)

    class Recording:
        def __len__(self):
            return len(training)

        def __getitem__(self, rows):
            seen.append(rows)
            return training.inputs[rows]

    recorded = Batch(Recording(), training.labels)
    with Workers(CPU, 1) as workers:
        list(train(network, settings, recorded, validation, rng, workers))
    assert [len(rows) for rows in seen] == [32] * 40 + [20]
    assert sorted(np.concatenate(seen)) == list(range(1300))


def test_cost_falls_and_accuracy_rises_on_real_digits(batches):
    _, reports = run(settings_of(epochs=10, hidden=[64]), batches)
    assert reports[-1].train.cost < 0.3 * reports[0].train.cost
    assert reports[-1].validation.accuracy > 0.85
    assert [report.epoch for report in reports] == list(range(1, 11))


@pytest.mark.parametrize("changes", [{"optimizer": "adam", "lr": 0.003}, {"momentum": 0.9}])
def test_other_optimisers_learn_real_digits_too(changes, batches):
    _, reports = run(settings_of(epochs=8, hidden=[64], **changes), batches)
    assert reports[-1].validation.accuracy > 0.85


def test_clipping_keeps_a_step_within_its_limit(batches):
    settings = settings_of(batch_size="all", epochs=1, lr=1.0, clip_norm=1e-3)
    network, rng = make_network(settings, 10, 0, CPU)
    before = {name: parameter.copy() for name, parameter in network.parameters.items()}
    with Workers(CPU, 1) as workers:
        list(train(network, settings, *batches, rng, workers))
    moved = sum(
        float(((parameter - before[name]) ** 2).sum())
        for name, parameter in network.parameters.items()
    )
    assert np.sqrt(moved) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("batch_size", [32, "all"])
def test_a_cost_that_is_not_finite_stops_the_run_with_epoch_and_learning_rate(batch_size, batches):
    settings = settings_of(lr=1e30, batch_size=batch_size, epochs=50)
    with pytest.raises(TrainingError, match=r"cost is (nan|inf) in epoch \d+ with lr 1e\+30"):
        run(settings, batches)


@pytest.mark.parametrize(("size", "steps"), [(1, 5), (3, 2), (5, 1), (100, 1)])
def test_any_batch_size_trains(size, steps, batches):
    few = Batch(batches[0].inputs[:5], batches[0].labels[:5])
    settings = settings_of(batch_size=size, epochs=2)
    _, reports = run(settings, (few, batches[1]))
    assert len(reports) == 2
    assert np.isfinite(reports[-1].train.cost)
    assert steps == -(-5 // size)


def test_a_score_is_the_mean_cost_and_the_share_of_right_answers(batches):
    network, _ = make_network(settings_of(), 10, 0, CPU)
    outputs, _ = network.forward(batches[0].inputs)
    with Workers(CPU, 2) as workers:
        measured = score(network, batches[0], workers)
    costs, _ = network.loss(outputs, batches[0].labels)
    assert measured.cost == pytest.approx(costs.mean(dtype=np.float64), rel=1e-6)
    assert measured.accuracy == np.mean(outputs.argmax(axis=1) == batches[0].labels)
