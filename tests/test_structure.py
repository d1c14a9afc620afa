"""The plan of the house: which way imports point, and that dvc.yaml tells DVC of every one."""

import ast
import json
import re
import shutil
from functools import cache
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from tests.conftest import ROOT
from tests.reviewed import MESSAGES

STAGES = sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")
BY_HAND = ["repeat"]  # run by no dvc.yaml
FILES = ("dvc.yaml", "sweep/dvc.yaml")
MODULES = sorted(
    path.relative_to(ROOT).as_posix()
    for folder in ("pipeline", "stages")
    for path in (ROOT / folder).rglob("*.py")
)
# A module may import from its own room and from the rooms after it.
ROOMS = [
    "commands", "experiments", "watch", "serving", "report", "figures", "export", "tracking",
    "comparison", "evaluation", "ensemble", "tuning", "nn", "raw", "datasets", "base",
]  # fmt: skip


@cache
def imports(module):
    """Return the dotted names that a file imports, wherever in the file."""
    names = []
    for node in ast.walk(ast.parse((ROOT / module).read_text())):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} imports relatively"
            names.append(node.module)
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return names


def own_files(module):
    """Return the project's files that a file imports, packages' __init__ aside."""
    for name in imports(module):
        path = name.replace(".", "/") + ".py"
        if path in MODULES:
            yield path


def reachable(module):
    found, waiting = set(), [module]
    while waiting:
        for path in own_files(waiting.pop()):
            if path not in found:
                found.add(path)
                waiting.append(path)
    return found


def room(module):
    parts = module.removesuffix(".py").split("/")
    if parts[0] == "stages" or parts[1:] == ["__main__"]:
        return "commands"
    if parts[1] in ROOMS:
        return parts[1]
    return "base"


def test_imports_point_one_way():
    for module in MODULES:
        for imported in own_files(module):
            assert ROOMS.index(room(imported)) >= ROOMS.index(room(module)), (module, imported)


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("click", r"stages/.*|pipeline/(__main__|base/command)\.py"),
        ("matplotlib", r"pipeline/figures/.*"),
        ("cupy", r"pipeline/nn/gpu/.*"),
        ("numba|llvmlite", r"pipeline/nn/compiled/.*"),
        ("dask|distributed", r"pipeline/tuning/(cluster|worker)\.py"),
        ("optuna", r"pipeline/tuning/.*"),
        ("dvc", r"nowhere"),
        ("dvclive", r"pipeline/tracking/dvclive\.py"),
        ("wandb", r"pipeline/tracking/wandb\.py"),
        ("mlflow", r"pipeline/tracking/mlflow\.py"),
        (
            "pyarrow",
            r"pipeline/(raw/(csv|parquet_tables|sample)|datasets/(pixel_file|parquet))\.py",
        ),
        ("sklearn", r"nowhere"),
        ("scipy", r"pipeline/(tuning/repeats|datasets/segmentation)\.py"),
        ("onnx", r"pipeline/export/onnx\.py"),
        ("safetensors", r"pipeline/export/safetensors\.py"),
        ("waitress", r"pipeline/serving\.py"),
        ("requests|urllib3", r"pipeline/raw/http\.py"),
        ("kagglehub", r"pipeline/raw/kaggle\.py"),
        ("torch|tensorflow|jax|keras", r"nowhere"),
        ("benchmarks|tests", r"nowhere"),
    ],
)
def test_a_library_is_imported_only_where_it_belongs(library, allowed):
    for module in MODULES:
        if any(re.fullmatch(library, name.split(".")[0]) for name in imports(module)):
            assert re.fullmatch(allowed, module), module


@cache
def stage_definitions():
    return {
        stage: definition
        for file in FILES
        for stage, definition in YAML(typ="safe", pure=True)
        .load((ROOT / file).read_text())["stages"]
        .items()
    }


def test_dvc_yaml_has_a_stage_for_every_command():
    assert sorted([*stage_definitions(), *BY_HAND]) == STAGES


@pytest.mark.parametrize("stage", stage_definitions())
def test_a_stages_deps_cover_every_module_that_it_imports(stage):
    deps = stage_definitions()[stage]["deps"]
    for module in {f"stages/{stage}.py"} | reachable(f"stages/{stage}.py"):
        assert any(module == dep or module.startswith(f"{dep}/") for dep in deps), module


@pytest.mark.parametrize("stage", stage_definitions())
def test_a_stage_runs_as_a_module_and_depends_on_what_is_installed(stage):
    definition = stage_definitions()[stage]
    assert definition["cmd"] == f"python -m stages.{stage}"
    assert "requirements.lock" in definition["deps"]


def test_every_variant_of_params_yaml_is_named_as_an_artifact():
    params = YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())
    artifacts = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["artifacts"]
    assert [artifact["path"] for artifact in artifacts.values()] == [
        f"models/{variant}.npz" for variant in params["variants"]
    ]


def test_params_yaml_has_the_layout_that_dvc_writes(
    tmp_path,
):
    copy = shutil.copy(ROOT / "params.yaml", tmp_path)
    apply_overrides(copy, ["seed=0"])
    assert Path(copy).read_text() == (ROOT / "params.yaml").read_text()


def test_every_message_that_was_reviewed_belongs_to_a_test():
    for place in json.loads(MESSAGES.read_text("utf-8")):
        file, name = place.partition("[")[0].split("::")
        assert f"def {name}(" in (ROOT / file).read_text("utf-8"), place
