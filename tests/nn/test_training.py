import numpy as np
import pytest

from pipeline.base.errors import TrainingError
from pipeline.base.params import Augment, VariantSettings
from pipeline.nn.devices import CPU
from pipeline.nn.losses import one_hot
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Score, Training, make_network
from tests.conftest import shipped_settings
from tests.refusal import refused
from tests.training import held, trained

VARIANTS = shipped_settings().variants


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


@pytest.mark.parametrize("variant", ["two_hidden", "large"])
def test_a_variants_predictions_have_the_same_bytes_on_any_number_of_threads(variant, parts):
    settings = VARIANTS[variant].model_copy(update={"epochs": 1, "epochs_for": None})
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

    def recorded(given, order, *others):
        assert given is images
        seen.append(order.copy())
        return steps(given, order, *others)

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
    with refused(error=TrainingError, match=r"cost is (nan|inf) in epoch \d+ with lr 1e\+30"):
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


AUGMENT = {"rotate": 15.0, "scale": 0.1, "shear": 0.1, "shift": 2.0, "elastic": 0.5}
REGULARISED = {
    "hidden": [30, 20], "optimizer": "adamw", "lr": 0.01, "weight_decay": 0.1, "schedule": "cosine",
    "warmup": 0.2, "dropout": 0.2, "label_smoothing": 0.1, "augment": AUGMENT,
}  # fmt: skip
"""Everything that a variant may have beyond the six."""


@pytest.mark.parametrize("size", [32, 200, "all"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_distortions_and_dropout_give_the_same_bytes_on_any_number_of_threads(
    activation, size, parts
):
    settings = settings_of(**REGULARISED, activation=activation, batch_size=size)
    alone = run(settings, parts)
    for threads in (3, 8):
        assert run(settings, parts, threads=threads) == alone


@pytest.mark.parametrize("left_out", ["dropout", "label_smoothing", "weight_decay", "augment"])
def test_each_regularisation_changes_the_result(left_out, parts):
    changes = {name: value for name, value in REGULARISED.items() if name != left_out}
    assert run(settings_of(**changes), parts)[0] != run(settings_of(**REGULARISED), parts)[0]


def test_every_epoch_has_its_own_distortions(parts):
    # With a rate of almost 0 the network stays the same, and so would its training cost.
    settings = settings_of(lr=1e-30, augment=AUGMENT, batch_size="all")
    _, reports = run(settings, parts)
    assert len({report.train.cost for report in reports}) == 3
    assert len({report.validation.cost for report in reports}) == 1


def test_distortions_help_where_images_are_few(parts):
    settings = settings_of(hidden=[64], optimizer="adamw", lr=0.005, schedule="linear", epochs=40)
    plain, distorted = (
        run(settings.model_copy(update={"augment": augment}), parts)[1][-1].validation
        for augment in (None, Augment(rotate=10.0, scale=0.1, shift=1.5, elastic=0.5))
    )
    assert distorted.cost < 0.6 * plain.cost


@pytest.fixture
def overfitting(parts):
    """Settings with which the validation cost soon rises."""
    training, validation = parts
    few = tuple(array[:60] for array in training)
    return settings_of(hidden=[100], optimizer="adam", lr=0.02, epochs=30), (few, validation)


def test_the_epoch_with_the_lowest_validation_cost_can_be_kept(overfitting):
    settings, parts = overfitting
    last, reports = run(settings, parts)
    costs = [report.validation.cost for report in reports]
    best = 1 + costs.index(min(costs))
    assert 1 < best < 30
    kept, same = run(settings.model_copy(update={"keep": "best"}), parts)
    assert same == reports
    assert kept != last
    assert kept == run(settings.model_copy(update={"epochs": best}), parts)[0]


@pytest.mark.parametrize("patience", [1, 5])
def test_patience_ends_a_run_that_no_longer_improves(patience, overfitting):
    settings, parts = overfitting
    changes = {"keep": "best", "patience": patience}
    _, reports = run(settings.model_copy(update=changes), parts)
    costs = [report.validation.cost for report in reports]
    assert len(costs) - (1 + costs.index(min(costs))) == patience
    assert len(costs) < 30
