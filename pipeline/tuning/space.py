"""The search space: from params.yaml to Optuna's distributions, from its choices to settings."""

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

from pipeline.errors import SettingsError
from pipeline.params import Candidates, Range, Settings, SpaceSettings, VariantSettings, examples

WHOLE = ("hidden", "batch_size", "epochs", "train_limit")
"""Settings whose numbers are whole."""
WIDE = 8
"""Choices whose largest is so many times the smallest are seen on a logarithmic scale."""


def distributions(space: SpaceSettings) -> dict[str, BaseDistribution]:
    """Give what Optuna is to choose from, by setting; a layer of `hidden` is `hidden.1`, ..."""
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
    """Give every value that each setting of a grid may take."""
    values: dict[str, list[Any]] = {}
    for name, candidates in space.settings.items():
        for key, part in _parts(name, candidates).items():
            if isinstance(part, Range):
                step = part.step or 1  # a grid's ranges all have one
                count = round((part.high - part.low) / step) + 1
                values[key] = [part.low + step * number for number in range(count)]
            else:
                values[key] = [_label(choice) for choice in part]
    return values


def logarithmic(space: SpaceSettings) -> set[str]:
    """Name the settings whose values are best seen on a logarithmic scale."""
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
    """Give `base` with what Optuna has chosen."""
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
    return VariantSettings.model_validate(base.model_dump() | values)


def check_space(settings: Settings, variant: str, name: str) -> None:
    """Raise SettingsError for a space that holds settings which `variant` cannot be trained with.

    Rules that join settings join two, so every pair of values is tried beside the first values of
    all other settings.
    """
    space = settings.sweep.chosen(name)
    place = f"sweep.spaces.{name}.settings"
    for key in ("lr", "epochs", "batch_size"):
        if key in space.settings and getattr(settings, key) is not None:
            raise SettingsError(
                f"{key} must be null, for {place}.{key} is to be tried, "
                f"got {getattr(settings, key)!r}"
            )
    values = {key: [value for _, value in examples(it)] for key, it in space.settings.items()}
    base = settings.variant(variant).model_dump() | {key: it[0] for key, it in values.items()}
    for first, second in itertools.combinations_with_replacement(values, 2):
        for pair in itertools.product(values[first], values[second]):
            tried = dict(zip((first, second), pair, strict=True))
            try:
                VariantSettings.model_validate(base | tried)
            except ValidationError as error:
                rule = "; ".join(detail["msg"] for detail in error.errors(include_url=False))
                shown = ", ".join(f"{key} {value}" for key, value in tried.items())
                raise SettingsError(f"{place} allows {shown} for {variant}: {rule}") from error


def assignments(variant: str, space: SpaceSettings, settings: VariantSettings) -> list[str]:
    """Give the options of `dvc exp run` that set what a space tries, ready for a shell."""
    options = []
    for name in space.settings:
        value = getattr(settings, name)
        text = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        options += ["-S", shlex.quote(f"variants.{variant}.{name}={text}")]
    return options


def _parts(name: str, candidates: Candidates) -> dict[str, Range | list[Any]]:
    """Give what is chosen on its own, by key: the whole setting or each hidden layer."""
    if isinstance(candidates, Range):
        return {name: candidates}
    if any(isinstance(entry, Range) for entry in candidates):
        return {
            f"{name}.{number}": entry if isinstance(entry, Range) else [entry]
            for number, entry in enumerate(candidates, start=1)
        }
    return {name: candidates}


def _label(choice: Any) -> Any:
    """Give a choice as Optuna stores it: it has no lists."""
    return json.dumps(choice) if isinstance(choice, list) else choice
