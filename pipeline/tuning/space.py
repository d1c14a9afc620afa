"""The search space: from params.yaml to Optuna's distributions, and from choices to settings."""

import itertools
import json
import shlex
from collections.abc import Mapping
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import ValidationError

from pipeline.base.errors import SettingsError
from pipeline.base.params import (
    Candidates,
    Range,
    Settings,
    SpaceSettings,
    VariantSettings,
    examples,
    value_of,
    with_values,
)

WHOLE = ("hidden", "batch_size", "epochs", "train_limit")
"""Settings that are integers."""
WIDE = 8
"""Ratio of largest to smallest choice from which figures use a logarithmic scale."""


def distributions(space: SpaceSettings) -> dict[str, BaseDistribution]:
    """Return Optuna's distributions by setting; the layers of `hidden` are `hidden.1`, ..."""
    found: dict[str, BaseDistribution] = {}
    for name, candidates in space.settings.items():
        for key, part in _parts(name, candidates).items():
            if isinstance(part, Range):
                kind = IntDistribution if name in WHOLE else FloatDistribution
                step = part.step if part.step is not None or name not in WHOLE else 1
                found[key] = kind(part.low, part.high, log=part.log, step=step)  # type: ignore[arg-type]
            else:
                found[key] = CategoricalDistribution([_label(choice) for choice in part])
    return found


def grid(space: SpaceSettings) -> dict[str, list[Any]]:
    """Return all values of each setting of a grid."""
    values: dict[str, list[Any]] = {}
    for name, candidates in space.settings.items():
        for key, part in _parts(name, candidates).items():
            if isinstance(part, Range):
                step = part.step or 1  # every range of a grid has a step
                count = round((part.high - part.low) / step) + 1
                values[key] = [part.low + step * number for number in range(count)]
            else:
                values[key] = [_label(choice) for choice in part]
    return values


def logarithmic(space: SpaceSettings) -> set[str]:
    """Return the settings whose values belong on a logarithmic scale."""
    names = set()
    for name, candidates in space.settings.items():
        for key, part in _parts(name, candidates).items():
            if isinstance(part, Range):
                wide = part.log
            else:
                numbers = [choice for choice in part if isinstance(choice, int | float)]
                wide = len(numbers) == len(part) and 0 < WIDE * min(numbers) <= max(numbers)
            if wide:
                names.add(key)
    return names


def settings_of(
    chosen: Mapping[str, Any], space: SpaceSettings, base: VariantSettings
) -> VariantSettings:
    """Return `base` with Optuna's choices."""
    values: dict[str, Any] = {}
    for name, candidates in space.settings.items():
        parts = _parts(name, candidates)
        found = [
            chosen[key]
            if isinstance(part, Range)
            else next(choice for choice in part if _label(choice) == chosen[key])
            for key, part in parts.items()
        ]
        values[name] = found if name not in parts else found[0]
    return VariantSettings.model_validate(with_values(base.model_dump(), values))


def check_space(settings: Settings, variant: str, name: str) -> None:
    """Raise SettingsError if a space contains settings that `variant` cannot be trained with.

    No rule joins more than two settings, so every pair of values is checked, with the first values
    of all other settings.
    """
    space = settings.sweep.chosen(name)
    place = f"sweep.spaces.{name}.settings"
    for key in ("lr", "epochs", "batch_size"):
        if key in space.settings and getattr(settings, key) is not None:
            raise SettingsError(
                f"{key} must be null because {place}.{key} varies it, "
                f"got {getattr(settings, key)!r}"
            )
    values = {key: [value for _, value in examples(it)] for key, it in space.settings.items()}
    base = with_values(
        settings.variant(variant).model_dump(), {key: it[0] for key, it in values.items()}
    )
    for first, second in itertools.combinations_with_replacement(values, 2):
        for pair in itertools.product(values[first], values[second]):
            tried = dict(zip((first, second), pair, strict=True))
            try:
                VariantSettings.model_validate(with_values(base, tried))
            except ValidationError as error:
                rule = error.errors()[0]["msg"]
                shown = ", ".join(f"{key} {value}" for key, value in tried.items())
                raise SettingsError(f"{place} allows {shown} for {variant}: {rule}") from error


def assignments(
    variant: str, space: SpaceSettings, base: VariantSettings, settings: VariantSettings
) -> list[str]:
    """Return options of `dvc exp run` that set what a space varies, quoted for a shell.

    base: the variant as in params.yaml. Hydra wants a + before a setting that is not there.
    """
    options = []
    for name in space.settings:
        value = value_of(settings, name)
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        listed = set(base.model_dump(exclude_unset=True))
        if base.augment is not None:
            listed |= {f"augment.{inner}" for inner in base.augment.model_fields_set}
        added = name not in listed
        options += ["-S", shlex.quote(f"{'+' * added}variants.{variant}.{name}={text}")]
    return options


def _parts(name: str, candidates: Candidates) -> dict[str, Range | list[Any]]:
    """Return what is chosen separately, by key: the whole setting, or each hidden layer."""
    if isinstance(candidates, Range):
        return {name: candidates}
    if any(isinstance(entry, Range) for entry in candidates):
        return {
            f"{name}.{number}": entry if isinstance(entry, Range) else [entry]
            for number, entry in enumerate(candidates, start=1)
        }
    return {name: candidates}


def _label(choice: Any) -> Any:
    """Return a choice as Optuna stores it: lists become text."""
    return json.dumps(choice) if isinstance(choice, list) else choice
