"""Search spaces: what Optuna chooses from, and the settings that its choices become."""

import itertools

import pytest
from optuna.distributions import (
    CategoricalDistribution as Choices,
)
from optuna.distributions import (
    FloatDistribution as Floats,
)
from optuna.distributions import (
    IntDistribution as Ints,
)
from pydantic import ValidationError

from pipeline.base.errors import SettingsError
from pipeline.base.params import Settings, SpaceSettings
from pipeline.tuning.space import (
    assignments,
    check_space,
    distributions,
    grid,
    logarithmic,
    settings_of,
)
from tests.conftest import shipped_settings
from tests.refusal import refused

SHIPPED = shipped_settings()
BASE = SHIPPED.variants["two_hidden"]


def space_of(settings, **changes):
    given = {"sampler": "tpe", "pruner": "none", "trials": 4, "parallel": 2} | changes
    return SpaceSettings.model_validate(given | {"settings": settings})


def settings_with(space, **top):
    content = SHIPPED.model_dump() | top
    for dataset in content["datasets"].values():
        dataset["source"] = list(dataset["source"])
    content["sweep"]["spaces"]["tried"] = space.model_dump()
    return Settings.model_validate(content)


def test_ranges_choices_and_layers_become_optunas_distributions():
    space = space_of(
        {
            "lr": {"low": 1e-3, "high": 1, "log": True},
            "momentum": {"low": 0, "high": 0.9, "step": 0.3},
            "epochs": {"low": 5, "high": 20, "step": 5},
            "batch_size": [16, "all"],
            "clip_norm": [None, 1.0],
            "hidden": [{"low": 16, "high": 256, "log": True}, 32],
            "initializer": ["he", "glorot"],
        }
    )
    assert distributions(space) == {
        "lr": Floats(1e-3, 1, log=True),
        "momentum": Floats(0, 0.9, step=0.3),
        "epochs": Ints(5, 20, step=5),
        "batch_size": Choices([16, "all"]),
        "clip_norm": Choices([None, 1.0]),
        "hidden.1": Ints(16, 256, log=True),
        "hidden.2": Choices([32]),
        "initializer": Choices(["he", "glorot"]),
    }


def test_optunas_choices_become_settings_and_all_others_stay_the_same():
    space = space_of(
        {
            "lr": {"low": 0.1, "high": 1},
            "hidden": [{"low": 16, "high": 256}, 32],
            "clip_norm": [None, 1],
            "batch_size": [1, "all"],
        }
    )
    chosen = {"lr": 0.25, "hidden.1": 99, "hidden.2": 32, "clip_norm": None, "batch_size": "all"}
    expected = {"lr": 0.25, "hidden": [99, 32], "clip_norm": None, "batch_size": "all"}
    assert settings_of(chosen, space, BASE) == BASE.model_copy(update=expected)


def test_lists_are_chosen_by_their_text():
    space = space_of({"hidden": [[128], [196, 49], []]})
    names = distributions(space)["hidden"].choices
    assert names == ("[128]", "[196, 49]", "[]")
    found = [settings_of({"hidden": name}, space, BASE).hidden for name in names]
    assert found == [[128], [196, 49], []]


def test_a_grid_has_every_value_of_every_setting():
    space = space_of(
        {
            "lr": [0.1, 0.2],
            "momentum": {"low": 0.0, "high": 0.9, "step": 0.3},
            "hidden": [{"low": 8, "high": 24, "step": 8}, 5],
        },
        sampler="grid",
    )
    values = grid(space)
    assert values["lr"] == [0.1, 0.2]
    assert values["momentum"] == pytest.approx([0, 0.3, 0.6, 0.9])
    assert values["hidden.1"] == [8, 16, 24]
    assert values["hidden.2"] == [5]


def test_logarithmic_ranges_and_widely_spread_choices_get_a_logarithmic_scale():
    space = space_of(
        {
            "lr": [0.003, 0.7],
            "momentum": {"low": 0.0, "high": 0.9},
            "l2": {"low": 1e-6, "high": 1e-2, "log": True},
            "batch_size": [16, 512, "all"],
            "epochs": [10, 20],
        }
    )
    assert logarithmic(space) == {"lr", "l2"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"optimizer": ["sgd", "adam"], "lr": [0.1]},
            "allows optimizer adam for two_hidden: momentum must be 0 with optimizer adam, got 0.9",
        ),
        (
            {"momentum": {"low": 0, "high": 0.5}, "lr": [0.1], "optimizer": ["sgd", "adam"]},
            "allows momentum 0.5, optimizer adam for two_hidden: momentum must be 0",
        ),
        (
            {"loss": ["mean_squared_error", "cross_entropy"], "output": ["sigmoid", "softmax"]},
            "allows loss cross_entropy for two_hidden: output must be softmax",
        ),
    ],
)
def test_a_space_with_invalid_settings_is_rejected_before_anything_runs(settings, message):
    with refused(f"sweep.spaces.tried.settings {message}", error=SettingsError):
        check_space(settings_with(space_of(settings)), "two_hidden", "tried")


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": ["sgd", "adam"], "momentum": [0.0]},
        {"loss": ["mean_squared_error"], "output": ["sigmoid", "softmax"]},
        {"loss": ["mean_squared_error"], "output": ["sigmoid"], "lr": [0.1, 0.2]},
    ],
)
def test_settings_that_are_valid_only_together_are_accepted(settings):
    check_space(settings_with(space_of(settings)), "two_hidden", "tried")


def test_every_combination_of_an_accepted_space_is_valid():
    space = space_of(
        {
            "optimizer": ["sgd", "adam"],
            "momentum": [0.0],
            "loss": ["cross_entropy", "mean_squared_error"],
            "output": ["softmax"],
            "batch_size": [8, "all"],
        },
        sampler="grid",
    )
    check_space(settings_with(space), "two_hidden", "tried")
    values = grid(space)
    for combination in itertools.product(*values.values()):
        settings_of(dict(zip(values, combination, strict=True)), space, BASE)


@pytest.mark.parametrize(
    ("name", "values", "other"),
    [("lr", [0.1, 0.2], "epochs"), ("epochs", [3, 4], "batch_size"), ("batch_size", [5, 6], "lr")],
)
def test_a_setting_fixed_for_all_variants_cannot_be_searched(name, values, other):
    space = space_of({name: values})
    check_space(settings_with(space, **{other: 3}), "two_hidden", "tried")
    with refused(error=SettingsError, match=rf"{name} must be null .*\.{name} varies it, got 3"):
        check_space(settings_with(space, **{name: 3}), "two_hidden", "tried")


@pytest.mark.parametrize(("variant", "name"), [("deep", "tried"), ("two_hidden", "gone")])
def test_an_unknown_variant_or_space_is_rejected(variant, name):
    with refused(error=SettingsError, match="must be one of"):
        check_space(settings_with(space_of({"lr": [0.1]})), variant, name)


def test_the_winners_options_are_quoted_for_a_shell():
    space = space_of(
        {"lr": [1e-05, 0.1], "hidden": [[20, 30]], "clip_norm": [None], "initializer": ["he"]}
    )
    chosen = {"lr": 1e-05, "hidden": "[20, 30]", "clip_norm": None, "initializer": "he"}
    options = assignments("net", space, BASE, settings_of(chosen, space, BASE))
    assert options == [
        "-S", "variants.net.lr=1e-05", "-S", "'variants.net.hidden=[20,30]'",
        "-S", "variants.net.clip_norm=null", "-S", "variants.net.initializer=he",
    ]  # fmt: skip


def test_the_strength_of_a_distortion_can_be_varied():
    space = space_of({"augment.rotate": {"low": 0, "high": 20}, "dropout": [0.0, 0.1]})
    chosen = {"augment.rotate": 5.0, "dropout": 0.1}
    for variant, prefix in (("two_hidden", "+"), ("large", "")):
        check_space(settings_with(space), variant, "tried")
        base = SHIPPED.variants[variant]
        settings = settings_of(chosen, space, base)
        assert (settings.augment.rotate, settings.dropout) == (5.0, 0.1)
        assert assignments("net", space, base, settings) == [
            "-S", f"{prefix}variants.net.augment.rotate=5.0",
            "-S", f"{prefix}variants.net.dropout=0.1",
        ]  # fmt: skip
    with pytest.raises(
        ValidationError, match=r"augment\.rotate\.high: augment\.rotate must be <= 180"
    ):
        space_of({"augment.rotate": {"low": 0, "high": 200}})
    with pytest.raises(ValidationError, match="augment is not a setting to train with"):
        space_of({"augment": [None]})
