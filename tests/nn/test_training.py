import numpy as np
import pytest

from pipeline.base.errors import TrainingError
from pipeline.base.params import VariantSettings
from pipeline.base.params_file import read_params
from pipeline.nn.devices import CPU
from pipeline.nn.losses import one_hot
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Score, Training, make_network
from tests.conftest import ROOT
from tests.training import held, trained

VARIANTS = read_params(ROOT / "params.yaml").variants


def settings_of(**changes):
    values = {"hidden": [16], "lr": 0.1, "batch_size": 32, "epochs": 3}
    return VariantSettings(**(values | changes))


@pytest.fixture(scope="module")
def parts(digits):
    """1,300 training images, so that a full batch is several rounds, and 200 for validation."""
    rows = np.random.default_rng(0).permutation(5000)[:1500]
    inputs = (digits.images[rows].reshape(-1, 784) / 255).astype(np.float32)
    labels = digits.labels[rows]
    return (inputs[:1300], labels[:1300]), (inputs[1300:], labels[1300:])


def run(settings, parts, seed=0, threads=1):
    """Return the bytes of the trained network, and the reports."""
    network, reports = trained(settings, *parts, seed=seed, threads=threads)
    return b"".join(p.tobytes() for p in network.parameters.values()), reports


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_ends_with_the_same_bytes_on_any_number_of_threads(variant, parts):
    settings = VARIANTS[variant].model_copy(update={"epochs": 2})
    alone = run(settings, parts, threads=1)
    for threads in (2, 3, 8):
        assert run(settings, parts, threads=threads) == alone


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variants_predictions_have_the_same_bytes_on_any_number_of_threads(variant, parts):
    settings = VARIANTS[variant].model_copy(update={"epochs": 1})
    network, _ = trained(settings, *parts)
    seen = set()
    for threads in (1, 2, 3, 8):
        engine = CPU.engine(network, threads=threads)
        for images in parts:
            on = held(engine, images)
            totals = engine.measure(on)
            assert engine.measure(on, again=True) == engine.measure(on, again=True) == totals
            seen.add((len(on), totals, engine.probabilities(on).tobytes()))
    assert len(seen) == 2


def test_the_bytes_depend_on_the_seed_alone(parts):
    settings = settings_of()
    assert run(settings, parts, seed=1) == run(settings, parts, seed=1)
    assert run(settings, parts, seed=1)[0] != run(settings, parts, seed=2)[0]


def test_another_batch_size_starts_from_the_same_weights():
    first, _ = make_network(settings_of(batch_size=32), 10, 0)
    second, _ = make_network(settings_of(batch_size="all"), 10, 0)
    for name, parameter in first.parameters.items():
        np.testing.assert_array_equal(parameter, second.parameters[name])


def test_an_epoch_of_mini_batches_sees_every_image_once(parts):
    training, validation = parts
    seen = []
    settings = settings_of(epochs=2, batch_size=32)
    network, rng = make_network(settings, 10, 0)
    engine = CPU.engine(network, settings)
    images, steps = held(engine, training), engine.train

    def recorded(given, order):
        assert given is images
        seen.append(order.copy())
        return steps(given, order)

    engine.train = recorded
    list(Training(engine, settings, HeldImages(images), held(engine, validation), rng).epochs())
    assert [sorted(order) for order in seen] == [list(range(1300))] * 2
    assert (seen[0] != seen[1]).mean() > 0.9


def test_cost_falls_and_accuracy_rises_on_real_digits(parts):
    _, reports = run(settings_of(epochs=10, hidden=[64]), parts)
    assert reports[-1].train.cost < 0.3 * reports[0].train.cost
    assert reports[-1].validation.accuracy > 0.85
    assert [report.epoch for report in reports] == list(range(1, 11))


@pytest.mark.parametrize("changes", [{"optimizer": "adam", "lr": 0.003}, {"momentum": 0.9}])
def test_other_optimisers_learn_real_digits_too(changes, parts):
    _, reports = run(settings_of(epochs=8, hidden=[64], **changes), parts)
    assert reports[-1].validation.accuracy > 0.85


def test_clipping_limits_the_size_of_a_step(parts):
    settings = settings_of(batch_size="all", epochs=1, lr=1.0, clip_norm=1e-3)
    before, _ = make_network(settings, 10, 0)
    after, _ = trained(settings, *parts)
    moved = sum(
        float(((parameter - before.parameters[name]) ** 2).sum())
        for name, parameter in after.parameters.items()
    )
    assert np.sqrt(moved) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("batch_size", [32, "all"])
def test_a_cost_that_is_not_finite_stops_the_run_with_epoch_and_learning_rate(batch_size, parts):
    settings = settings_of(lr=1e30, batch_size=batch_size, epochs=50)
    with pytest.raises(TrainingError, match=r"cost is (nan|inf) in epoch \d+ with lr 1e\+30"):
        run(settings, parts)


@pytest.mark.parametrize(("size", "steps"), [(1, 5), (3, 2), (5, 1), (100, 1)])
def test_any_batch_size_trains(size, steps, parts):
    (inputs, labels), validation = parts
    settings = settings_of(batch_size=size, epochs=2)
    network, rng = make_network(settings, 10, 0)
    engine = CPU.engine(network, settings)
    few = HeldImages(held(engine, (inputs[:5], labels[:5])))
    *_, last = Training(engine, settings, few, held(engine, validation), rng).epochs()
    assert last.epoch == 2
    assert np.isfinite(last.train.cost)
    assert engine.state()["powers"][0] == pytest.approx(0.9 ** (2 * steps))


def test_a_score_is_the_mean_cost_and_the_fraction_classified_correctly(parts):
    inputs, labels = parts[0]
    network, _ = make_network(settings_of(), 10, 0)
    outputs, _ = network.forward(inputs)
    engine = CPU.engine(network, threads=2)
    measured = Score.of(engine.measure(held(engine, parts[0])), len(labels))
    costs, _ = network.loss(outputs, one_hot(labels, 10, outputs.dtype))
    assert measured.cost == pytest.approx(costs.mean(dtype=np.float64), rel=1e-6)
    assert measured.accuracy == np.mean(outputs.argmax(axis=1) == labels)
