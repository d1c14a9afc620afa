"""What DVC recorded of each experiment: its settings, metrics, curves and predictions.

This is the only module of the library that knows DVC. It asks the program `dvc` for experiments and
git for the files that git tracks, and reads predictions from DVC's cache.
"""

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base.errors import DataError
from pipeline.base.tables import Table, read_table

SUMMARY = "metrics/summary.json"
HISTORY = "plots/history.csv"
PREDICTIONS = "plots/predictions"
WORKSPACE = "workspace"


@dataclass(frozen=True)
class Experiment:
    """One experiment, commit, or the workspace.

    name: of the experiment, branch or tag; parent: the name of the commit that it is based on, or
    None for a commit and the workspace; created: time as ISO 8601, or None; settings: by dotted
    name; metrics: by variant, as in metrics/summary.json; history: as in plots/history.csv, or
    None; predictions: by variant, as in plots/predictions, of those that are in DVC's cache.
    """

    name: str
    parent: str | None
    created: str | None
    settings: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, float]]
    history: Table | None = None
    predictions: Mapping[str, Table] = field(default_factory=dict)


def read_experiments(project: Path, *options: str) -> tuple[list[Experiment], list[str]]:
    """Return the experiments of a project, the workspace first, and the names of those left out.

    Experiments without metrics are left out: queued, failed, or of another pipeline. options: of
    `dvc exp show`, which choose commits. Raises DataError if dvc or git fails.
    """
    shown = json.loads(_run(project, "dvc", "exp", "show", "--json", *options))
    cache = Path(_run(project, "dvc", "cache", "dir").strip())
    found, left_out = [], []
    for name, parent, state in _states(shown):
        data = state.get("data") or {}
        summary = ((data.get("metrics") or {}).get(SUMMARY) or {}).get("data")
        if not isinstance(summary, dict):
            left_out.append(name)
            continue
        params = ((data.get("params") or {}).get("params.yaml") or {}).get("data") or {}
        found.append(
            Experiment(
                name,
                parent,
                data.get("timestamp"),
                dict(_flat(params)),
                summary,
                _history(project, state["rev"]),
                _predictions(cache if cache.is_absolute() else project / cache, data, summary),
            )
        )
    return found, left_out


def _states(shown: list[dict[str, Any]]) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """Yield the name, the parent's name and the record of each commit and experiment."""
    for commit in shown:
        own = commit["name"] or commit["rev"][:7]
        yield (WORKSPACE if commit["rev"] == WORKSPACE else own), None, commit
        for experiment in commit.get("experiments") or ():
            newest = experiment["revs"][0]
            yield experiment["name"] or newest["rev"][:7], own, newest


def _flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _history(project: Path, rev: str) -> Table | None:
    if rev == WORKSPACE:
        path = project / HISTORY
        return read_table(path, text=("variant", "loss", "split")) if path.exists() else None
    try:
        text = _run(project, "git", "show", f"{rev}:{HISTORY}")
    except DataError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "history.csv"
        path.write_text(text, encoding="utf-8")
        return read_table(path, text=("variant", "loss", "split"))


def _predictions(
    cache: Path, data: Mapping[str, Any], variants: Mapping[str, Any]
) -> dict[str, Table]:
    tables = {}
    for variant in variants:
        digest = ((data.get("outs") or {}).get(f"{PREDICTIONS}/{variant}.csv") or {}).get("hash")
        if digest is None:
            continue
        path = cache / "files" / "md5" / digest[:2] / digest[2:]
        if path.exists():
            tables[variant] = read_table(path, text=("label", "prediction"))
    return tables


def _run(project: Path, *command: str) -> str:
    """Return the output of a program. Raises DataError with its last error if it fails."""
    try:
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DataError(f"{command[0]} is not installed, or not on PATH") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        # DVC may add where to ask for help.
        errors = [line for line in lines if line.startswith("ERROR: ")] or lines
        raise DataError(f"{' '.join(command[:3])} failed: {errors[-1].removeprefix('ERROR: ')}")
    return done.stdout
