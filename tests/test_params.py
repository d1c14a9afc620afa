import math
import re
import sys
from contextlib import contextmanager

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from pipeline.base.errors import SettingsError
from pipeline.base.params import Augment, Range, SpaceSettings, VariantSettings, examples, shown
from pipeline.base.params_file import read_params
from tests.conftest import ROOT, shipped_params, shipped_settings, write_params
from tests.refusal import refused

BROAD = "sweep.spaces.broad"


@contextmanager
def shipped(path):
    """Yield the shipped settings to change, and write them to a file."""
    content = shipped_params()
    yield content
    write_params(path.parent, content)


def changed(path, key, value):
    """Write params.yaml with one setting changed (or removed, for `...`)."""
    *parents, last = key.split(".")
    with shipped(path) as place:
        for parent in parents:
            place = place[parent]
        if value is ...:
            del place[last]
        else:
            place[last] = value
    return path


JUST_BELOW_1 = math.nextafter(1, 0)
TINY = math.nextafter(0, 1)
SHARE = ([0, JUST_BELOW_1], [-TINY, 1])
COUNT = ([1, 10**9], [0, 10**9 + 1])
RATE = ([TINY, sys.float_info.max], [0, math.inf, math.nan])
NOT_NEGATIVE = ([0, sys.float_info.max], [-TINY, math.inf, math.nan])
LIMITS = {
    "hidden": ([[], [1], [1_000_000] * 100], [[0], [1_000_001], [1] * 101]),
    "lr": RATE, "l2": NOT_NEGATIVE, "weight_decay": NOT_NEGATIVE,
    "clip_value": ([None, *RATE[0]], RATE[1]), "clip_norm": ([None, *RATE[0]], RATE[1]),
    "warmup": SHARE, "momentum": SHARE, "beta1": SHARE, "beta2": SHARE, "label_smoothing": SHARE,
    "dropout": SHARE, "drop": ([TINY, JUST_BELOW_1], [0, 1]),
    "drops": ([[], [0], [JUST_BELOW_1] * 100], [[-TINY], [1], [0.5] * 101]),
    "batch_size": (["all", *COUNT[0]], ["some", *COUNT[1]]), "epochs": COUNT,
    "epochs_for": ([None, *COUNT[0]], COUNT[1]), "patience": ([None, *COUNT[0]], COUNT[1]),
    "train_limit": ([None, *COUNT[0]], COUNT[1]), "test_sample": ([None, *COUNT[0]], COUNT[1]),
    "test_shifts": ([None, 5, 9], [1, 4, 6]),
    "augment.rotate": ([0, 180], [-TINY, math.nextafter(180, 181)]),
    "augment.scale": SHARE, "augment.shear": ([0, 1], [-TINY, math.nextafter(1, 2)]),
    "augment.shift": ([0, 14], [-TINY, math.nextafter(14, 15)]),
    "augment.elastic": ([0, 10], [-TINY, math.nextafter(10, 11)]),
}  # fmt: skip
"""The values of each number in a variant that are just allowed, and those that just are not."""


@pytest.mark.parametrize("setting", LIMITS)
def test_a_number_is_allowed_up_to_its_limits(setting):
    outer, _, inner = setting.partition(".")
    optimizer = "adamw" if setting == "weight_decay" else "sgd"
    content = {
        "hidden": [1], "lr": 1.0, "batch_size": 1, "epochs": 1, "optimizer": optimizer,
        "schedule": "steps",
    }  # fmt: skip
    for value in LIMITS[setting][0]:
        VariantSettings.model_validate(content | {outer: {inner: value} if inner else value})
    for value in LIMITS[setting][1]:
        with pytest.raises(ValidationError):
            VariantSettings.model_validate(content | {outer: {inner: value} if inner else value})


def test_the_limits_of_every_number_of_a_variant_are_tested():
    words = {
        "activation", "output", "loss", "initializer", "optimizer", "schedule", "nesterov", "keep",
    }  # fmt: skip
    assert {name.partition(".")[0] for name in LIMITS} | words == set(VariantSettings.model_fields)
    augment = {name.partition(".")[2] for name in LIMITS} - {""}
    assert augment == set(Augment.model_fields)


@pytest.mark.parametrize(
    ("key", "just", "beyond"),
    [
        ("seed", [0, 2**32 - 1], [-1, 2**32]),
        ("datasets.mnist.first_label", [0, 255], [-1, 256]),
        ("datasets.mnist.class_names", [["a", "b"], list(map(str, range(256)))], [["a"]]),
        ("sweep.spaces.broad.published", [[{"lr": 1, "accuracy": n}] for n in (0, 1)],
         [[{"lr": 1, "accuracy": n}] for n in (-TINY, math.nextafter(1, 2))]),
    ],
)  # fmt: skip
def test_a_number_elsewhere_is_allowed_up_to_its_limits(path, key, just, beyond):
    for value in just:
        read_params(changed(path, key, value))
    for value in beyond:
        with refused(path, error=SettingsError):
            read_params(changed(path, key, value))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "params.yaml"


def test_the_shipped_settings_are_valid_and_hold_eight_variants():
    settings = shipped_settings()
    assert list(settings.variants) == [
        "distorted", "full_batch", "large", "mini_batch", "one_hidden", "small_batch", "tiny",
        "two_hidden",
    ]  # fmt: skip
    assert settings.dataset == "mnist-5k"


def test_params_yaml_names_every_setting_of_a_variant_and_its_default():
    text = (ROOT / "params.yaml").read_text()
    shown = YAML(typ="safe", pure=True).load(text)["variants"]
    fields = VariantSettings.model_fields
    for name, field in fields.items():
        assert re.search(rf"^# .*\b{name}\b", text, re.MULTILINE), name
        if field.is_required():
            assert all(name in variant for variant in shown.values()), name
    assert set(shown["distorted"]) == set(shown["large"]) == set(fields)


def test_a_setting_that_is_left_out_changes_nothing():
    plain = VariantSettings(hidden=[1], lr=1.0, batch_size=1, epochs=1)
    assert (plain.optimizer, plain.schedule, plain.keep) == ("sgd", "constant", "last")
    off = set(VariantSettings.model_fields) - {
        "hidden", "activation", "output", "loss", "initializer", "optimizer", "lr", "schedule",
        "drop", "beta1", "beta2", "batch_size", "epochs", "keep",
    }  # fmt: skip
    assert not any(getattr(plain, name) for name in off)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lr", "abc", "lr must be a number, got 'abc'"),
        ("lr", -1, "lr must be > 0, got -1"),
        ("lr", 0, "lr must be > 0, got 0"),
        ("lr", float("nan"), "lr must be a finite number, got nan"),
        ("lr", float("inf"), "lr must be a finite number, got inf"),
        ("lr", True, "lr must be a number, got True"),
        ("epochs", 0, "epochs must be > 0, got 0"),
        ("epochs", 1.5, "epochs must be a whole number, got 1.5"),
        (
            "batch_size",
            0,
            "batch_size must be 'all' or a whole number from 1 to 1,000,000,000, got 0",
        ),
        (
            "batch_size",
            "some",
            "batch_size must be 'all' or a whole number from 1 to 1,000,000,000, got 'some'",
        ),
        (
            "shuffle_buffer",
            0,
            "shuffle_buffer must be 'all' or a whole number from 1 to 1,000,000,000, got 0",
        ),
        (
            "shuffle_buffer",
            None,
            "shuffle_buffer must be 'all' or a whole number from 1 to 1,000,000,000, got None",
        ),
        ("seed", -1, "seed must be >= 0, got -1"),
        ("device", "tpu", "device must be one of 'cpu', 'gpu' or 'auto', got 'tpu'"),
        (
            "dataset",
            "emnist",
            "dataset must be one of emnist-digits, emnist-letters, fashion-mnist, kmnist, mnist, "
            "mnist-5k, qmnist, got emnist",
        ),
        ("normalize", None, "normalize must be one of 'scale' or 'standardize', got None"),
        (
            "tracking",
            "tensorboard",
            "tracking must be one of 'none', 'dvclive', 'wandb' or 'mlflow', got 'tensorboard'",
        ),
        ("variants.tiny.lr", -0.1, "variants.tiny.lr must be > 0, got -0.1"),
        ("variants.tiny.lr", ..., "variants.tiny.lr is required"),
        ("variants.tiny.hidden", [10, 0], "variants.tiny.hidden.1 must be > 0, got 0"),
        ("variants.tiny.hidden", 10, "variants.tiny.hidden must be a list, got 10"),
        ("variants.tiny.momentum", 1, "variants.tiny.momentum must be < 1, got 1"),
        (
            "variants.tiny.activation",
            "swish",
            "variants.tiny.activation must be one of 'relu', 'sigmoid' or 'tanh', got 'swish'",
        ),
        (
            "variants.tiny.output",
            "sigmoid",
            "variants.tiny.output must be softmax with loss cross_entropy, got 'sigmoid'",
        ),
        (
            "variants.tiny.learning_rat",
            1,
            "variants.tiny.learning_rat is not a setting",
        ),
        (
            "variants.tiny.momentun",
            0.9,
            "variants.tiny.momentun is not a setting; did you mean momentum?",
        ),
        ("epoch", 3, "epoch is not a setting; did you mean epochs?"),
        ("variants.tiny", 3, "variants.tiny must be a mapping, got 3"),
        ("datasets.mnist.source", [], "datasets.mnist.source must be a source or a list"),
        ("datasets.mnist.source", [""], "datasets.mnist.source must hold only non-empty strings"),
        ("datasets.mnist.class_names", ["0"], "must have 2 or more entries, got ['0']"),
        ("datasets.mnist.pictures", "centred", "pictures must be one of 'digit' or 'as_is', got"),
        (
            "datasets.mnist.checksums",
            {"a": "crc:1"},
            "datasets.mnist.checksums.a must match ^(md5|sha256):[0-9a-f]+$, got 'crc:1'",
        ),
        ("sweep.space", "wide", "sweep.space must be one of broad, learning_rates, got wide"),
        ("sweep.varient", 1, "sweep.varient is not a setting; did you mean variant?"),
        (f"{BROAD}.sampler", "tpa", "broad.sampler must be one of 'tpe', 'random' or 'grid'"),
        (f"{BROAD}.trialz", 1, "broad.trialz is not a setting; did you mean trials?"),
        (f"{BROAD}.trials", 0, "broad.trials must be > 0, got 0"),
        (f"{BROAD}.settings.lr.hi", 1, "settings.lr.hi is not a setting; did you mean high?"),
        (f"{BROAD}.settings.lr.log", 1, "settings.lr.log must be true or false, got 1"),
        (f"{BROAD}.settings.lr.low", "a", "broad.settings.lr.low must be a number, got 'a'"),
        (f"{BROAD}.settings.lr.low", True, "broad.settings.lr.low must be a number, got True"),
        (f"{BROAD}.settings.lr.low", 2, "settings.lr.high must be > low, which is 2, got 1.0"),
        (f"{BROAD}.settings.lr.low", 0, "settings.lr.low must be > 0 with log, got 0"),
        (f"{BROAD}.settings.lr.step", 0.1, "settings.lr.step must be null with log, got 0.1"),
        (f"{BROAD}.settings.epochs.step", 3, "settings.epochs.step must divide 30 - 10, got 3"),
        (f"{BROAD}.settings.epochs.step", -5, "settings.epochs.step must divide 30 - 10, got -5"),
        (
            f"{BROAD}.settings.epochs.step",
            2.5,
            "settings.epochs.step: epochs must be a whole number, got 12.5",
        ),
        (
            f"{BROAD}.settings.lr",
            3,
            "settings.lr must be a list of choices or a mapping {low, high}, got 3",
        ),
        (f"{BROAD}.settings.lr", [], "settings.lr must have 1 or more entries, got []"),
        (f"{BROAD}.settings.lr", [0.1, -1], "settings.lr.1: lr must be > 0, got -1"),
        (
            f"{BROAD}.settings.momentum.high",
            1.5,
            "settings.momentum.high: momentum must be < 1, got 1.5",
        ),
        (
            f"{BROAD}.settings.hidden",
            [[3], [3]],
            "settings.hidden.1 must differ from earlier choices, got [3]",
        ),
        (
            f"{BROAD}.settings.hidden",
            [{"low": 0, "high": 9}, 5],
            "settings.hidden: hidden.0 must be > 0, got 0",
        ),
        (f"{BROAD}.settings.hidden", [{"low": 1, "high": 9}, 0], "hidden.1 must be > 0, got 0"),
        (
            f"{BROAD}.settings.activation",
            {"low": 1, "high": 2},
            "settings.activation.low: activation must be one of 'relu', 'sigmoid' or 'tanh', got 1",
        ),
        (
            f"{BROAD}.settings.momentun",
            [0.9],
            "settings.momentun is not a setting to train with; did you mean momentum?",
        ),
        (f"{BROAD}.settings.test_sample", [1], "test_sample is not a setting to train with"),
        (f"{BROAD}.sampler", "grid", "settings.l2 must have a step with sampler grid"),
        (
            f"{BROAD}.published",
            [{"lr": 0.1, "accuracy": 93}],
            "broad.published.0.accuracy must be <= 1, got 93",
        ),
    ],
)
def test_a_bad_setting_is_one_line_with_key_rule_and_value(path, key, value, message):
    with refused(path, message, error=SettingsError):
        read_params(changed(path, key, value))


def test_momentum_is_refused_with_adam(path):
    changed(path, "variants.two_hidden.optimizer", "adam")
    with refused(error=SettingsError, match=r"two_hidden.momentum must be 0 with optimizer adam"):
        read_params(path)


def test_the_longest_name_is_allowed(path):
    with shipped(path) as content:
        content["variants"]["a" * 100] = content["variants"]["tiny"]
    assert "a" * 100 in read_params(path).variants


def test_the_step_of_a_range_may_be_the_whole_range():
    assert list(examples(Range(low=0, high=1, step=1))) == [(".low", 0), (".high", 1), (".step", 1)]


def test_layers_of_a_sweep_may_have_equal_ranges():
    two = [{"low": 1, "high": 9}, {"low": 1, "high": 9}]
    common = {"sampler": "random", "pruner": "none", "trials": 1, "parallel": 1}
    space = SpaceSettings.model_validate(common | {"settings": {"hidden": two}})
    assert [(layer.low, layer.high) for layer in space.settings["hidden"]] == [(1, 9), (1, 9)]


UNSAFE = dict.fromkeys(
    ["a b", "$(id)", "a;b", "../x", "", "-x", "a.b"],
    "must be a name of letters, digits, '_' and '-'",
)


@pytest.mark.parametrize(
    ("name", "rule"), [*UNSAFE.items(), ("a" * 101, "must have at most 100 characters")]
)
def test_an_unsafe_variant_name_is_refused(path, name, rule):
    with shipped(path) as content:
        content["variants"][name] = content["variants"]["tiny"]
    with refused(error=SettingsError, match=rule):
        read_params(path)


@pytest.mark.parametrize(
    ("key", "first", "second"),
    [
        ("variants", "Tiny", "tiny"),
        ("datasets", "MNIST", "mnist"),
        ("sweep.spaces", "Broad", "broad"),
    ],
)
def test_names_that_differ_only_in_case_are_refused(path, key, first, second):
    with shipped(path) as content:
        *parents, last = key.split(".")
        named = content[parents[0]][last] if parents else content[last]
        named[first] = named[second]
    rule = f"{key} must have names that differ in more than case, got (.*)$"
    with pytest.raises(SettingsError, match=rule) as refusal:
        read_params(path)
    assert sorted(str(refusal.value).split()[-3:]) == sorted([first, "and", second])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: [", "is not YAML"),
        ("- 1", "must be a mapping of settings"),
        ("", "must be a mapping of settings, got None"),
        ("seed: 0\nseed: 1", "is not YAML"),
        ("!!python/object/apply:os.system ['id']", "is not YAML"),
    ],
)
def test_a_file_without_settings_is_refused_in_one_line(path, content, message):
    path.write_text(content)
    with refused(error=SettingsError, match=message):
        read_params(path)


def test_a_missing_file_is_reported_in_one_line(path):
    with refused(error=SettingsError, match=r"params.yaml cannot be read: No such file"):
        read_params(path)


def test_the_top_settings_override_those_of_every_variant(path):
    with shipped(path) as content:
        content |= {"lr": 0.5, "epochs": 3, "batch_size": 7}
    settings = read_params(path)
    for name in settings.variants:
        variant = settings.variant(name)
        assert (variant.lr, variant.epochs, variant.batch_size) == (0.5, 3, 7)


def test_without_overrides_a_variant_keeps_its_own_settings():
    settings = shipped_settings()
    assert settings.variant("one_hidden") == settings.variants["one_hidden"]


def test_an_unknown_variant_is_refused_with_the_known_ones():
    settings = shipped_settings()
    with refused(error=SettingsError, match=r"must be one of distorted, .*, got deep"):
        settings.variant("deep")


def test_settings_cannot_be_changed_after_reading():
    settings = shipped_settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1


def test_scientific_notation_is_a_number_as_dvc_reads_it(path):
    text = (ROOT / "params.yaml").read_text()
    path.write_text(text.replace("\nlr:  ", "\nlr: 1e-4  "))
    assert read_params(path).lr == 1e-4


def test_a_number_too_long_to_be_read_is_told_by_its_length():
    assert shown(10**40 - 1) == "9" * 40
    assert shown(10**40) == "a whole number of 133 bits"
