"""Train to a target accuracy, from the start of a process to a saved model, beside other libraries.

    python -m benchmarks.records [--targets mnist-99.0,fashion-90.0]

Contestants take turns, each run in its own process. A run with all seeds replaces the results of
its targets and contestants in records.json next to this file, and the table in docs/records.md.
Other runs write to the folder --out, or only print. docs/records.md has the rules.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from benchmarks.data import FULL_DATA, SAMPLE, check_measurable
from benchmarks.machine import BUSY, ROOT, describe_machine
from benchmarks.race import CONTESTANTS, hold_race, make_data, merge, read_results
from benchmarks.record_table import render
from benchmarks.table import check_place, put_in_place
from benchmarks.training import check_installed, names
from pipeline.base.command import Command, warn
from pipeline.base.errors import SettingsError
from pipeline.base.files import write_json
from pipeline.base.params import Settings, VariantSettings, with_values
from pipeline.base.params_file import read_params

HERE, PAGE = Path(__file__).parent, ROOT / "docs" / "records.md"
SEEDS = 5
"""Seeds of a record, from 0."""
NETWORKS = tuple(name for name in CONTESTANTS if name != "scikit-learn")


@dataclass(frozen=True)
class Recipe:
    """How to train to a target: a variant of params.yaml and the settings that differ from it.

    target: mean test accuracy in percent, or None for contestants that only show what they reach.
    """

    dataset: str
    target: float | None
    variant: str
    settings: dict[str, Any] = field(default_factory=dict)
    contestants: tuple[str, ...] = NETWORKS

    def chosen(self, settings: Settings) -> VariantSettings:
        """Return all settings. Raises SettingsError if params.yaml does not have the variant."""
        of_variant = settings.variant(self.variant).model_dump()
        return VariantSettings.model_validate(with_values(of_variant, self.settings))


MILD = {"augment.shift": 0.7, "augment.scale": 0.06, "augment.rotate": 3.0, "augment.shear": 0.0,
        "augment.elastic": 0.0}  # fmt: skip
"""Distortions that leave clothes recognisable."""
PLAIN = {"augment": None, "lr": 0.001, "beta2": 0.999, "schedule": "constant", "warmup": 0.0}
"""Plain images and Adam with its usual settings, for scikit-learn."""

RECIPES = {
    "mnist-98.5": Recipe("mnist", 98.5, "distorted", {"epochs": 8}),
    "mnist-99.0": Recipe("mnist", 99.0, "distorted"),
    "mnist-99.4": Recipe("mnist", 99.4, "large"),
    "fashion-90.0": Recipe(
        "fashion-mnist", 90.0, "large", {"hidden": [512, 512], "lr": 0.0015, "epochs": 30} | MILD
    ),
    "fashion-90.5": Recipe(
        "fashion-mnist", 90.5, "large", {"lr": 0.0015, "batch_size": 512, "epochs": 40} | MILD
    ),
    "mnist-plain": Recipe("mnist", None, "large", PLAIN | {"epochs": 20}, ("scikit-learn",)),
    "fashion-plain": Recipe(
        "fashion-mnist", None, "large", PLAIN | {"epochs": 20}, ("scikit-learn",)
    ),
}
"""The recipe of each target. Edit one to enter a record."""

TRAINED_BY_ALL = {
    "activation": "relu", "loss": "cross_entropy", "initializer": "he", "optimizer": "adamw",
    "l2": 0.0, "clip_value": None, "clip_norm": None, "keep": "last", "patience": None,
}  # fmt: skip
"""Settings that all contestants implement with these values only."""


@click.command(cls=Command)
@click.option("--targets", callback=names, help="Comma-separated names of recipes; all by default.")
@click.option("--contestants", callback=names, help="Comma-separated names; all by default.")
@click.option("--seeds", type=click.IntRange(1), default=SEEDS, show_default=True)
@click.option(
    "--rival-seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Seeds of all contestants but ours.",
)
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True),
    help="Folder with the IDX files of each dataset in a folder of its name. Default: "
    "../shared/data next to the repository if it exists, else the sources in params.yaml.",
)
@click.option("--quick", is_flag=True, help="One epoch on the embedded sample, to try it out.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.")
def main(
    targets: tuple[str, ...],
    contestants: tuple[str, ...],
    seeds: int,
    rival_seeds: int,
    data: Path | None,
    *,
    quick: bool,
    out: Path | None,
) -> None:
    """Train to target accuracies, in turns with other libraries."""
    targets = choose("targets", targets, tuple(RECIPES))
    contestants = choose("contestants", contestants, tuple(CONTESTANTS))
    check_installed(contestants, "--contestants")
    official = seeds >= SEEDS and not quick
    if official and out is None:
        check_place(PAGE)
    params = read_params(ROOT / "params.yaml")
    recipes = {name: RECIPES[name] for name in targets}
    settings = {name: recipe.chosen(params) for name, recipe in recipes.items()}
    for name, chosen in settings.items():
        check_measurable(name, chosen, TRAINED_BY_ALL)
    machine = describe_machine()
    load = machine.pop("load_before")
    if load > BUSY and not quick:
        warn(f"this machine is busy (load {load}): the times are not reliable")
    path = (out or HERE) / "records.json"
    results = read_results(path) if out is not None or official else {}
    with tempfile.TemporaryDirectory() as place:
        for name, recipe in recipes.items():
            racing = [each for each in recipe.contestants if each in contestants]
            if not racing:
                continue
            dataset = SAMPLE if quick else recipe.dataset
            source = None if quick else find_data(data, dataset)
            folder = Path(place) / dataset
            described = make_data(params, dataset, source, folder)
            chosen = settings[name]
            if quick:
                chosen = chosen.model_copy(update={"epochs": 1, "epochs_for": None})
            race = hold_race(
                name, chosen, folder, described, racing,
                seeds={each: seeds if each == "ours" else rival_seeds for each in racing},
                cache=Path(place) / "cache",
                report=click.echo,
            )  # fmt: skip
            race = {"variant": recipe.variant, "target": recipe.target, "load_before": load} | race
            results = merge(results, machine, name, race)
            results["races"] = {each: results["races"][each] for each in RECIPES
                                if each in results["races"]}  # fmt: skip
            if out is not None or official:
                write_json(path, results)
    text = render(results)
    click.echo(f"\n{text}\n")
    if out is None and official:
        put_in_place(PAGE, text)
    elif out is None:
        click.echo(f"Only a run with {SEEDS} seeds updates the results; --out FOLDER saves these.")


def find_data(data: Path | None, dataset: str) -> Path | None:
    """Return the folder of a dataset's IDX files, or None for the sources in params.yaml."""
    if data is not None:
        return data / dataset
    return FULL_DATA / dataset if (FULL_DATA / dataset).is_dir() else None


def choose(what: str, wanted: tuple[str, ...], known: tuple[str, ...]) -> tuple[str, ...]:
    """Return the wanted names, all if there are none, in the order of `known`.

    Raises SettingsError for an unknown name.
    """
    for name in wanted:
        if name not in known:
            raise SettingsError(f"{what} must be among {', '.join(known)}, got {name}")
    return tuple(name for name in known if name in (wanted or known))


if __name__ == "__main__":
    main()
