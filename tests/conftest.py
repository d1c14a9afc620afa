"""What tests share: real digits, and the full datasets where they are at hand."""

import fcntl
import gc
import importlib.util
import io
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dvc.utils.serialize import modify_yaml
from hypothesis import settings
from ruamel.yaml import YAML

from pipeline.base.params import Settings
from pipeline.base.params_file import read_params
from pipeline.datasets.images import LabelledImages
from pipeline.raw.sample import read_sample
from tests import reviewed
from tests.clone import VARIANTS, shell

settings.register_profile("default", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent
FULL_DATA = ROOT.parent / "shared" / "data"
LONGEST = (
    "test_draw_page.py", "test_report_page.py", "test_docs.py", "test_gpu_kernels.py",
    "test_figures.py", "test_checkpoint.py", "test_compiled.py", "test_dependencies.py",
    "test_hostile_input.py",
)  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that accepts what a change has altered."""
    parser.addoption("--review", type=Path, help="folder for changed pictures and pages")


def pytest_configure(config: pytest.Config) -> None:
    """Tell where changed pictures and pages go, and let Ctrl-C reach what tests start.

    A shell that runs the tests in the background has it ignored, which programs inherit.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = config.getoption("--review")
    reviewed.folder = folder and folder.absolute()


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Leave out garbage collection while tests are imported, as what is imported stays."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what opens a page as long; run the longest files first, so that no worker ends alone."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.long)
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [*LONGEST, item.path.name].index(item.path.name))


@pytest.fixture(scope="session")
def digits() -> LabelledImages:
    """The 5,000 real digits of the offline sample, sorted by digit."""
    return read_sample()


@pytest.fixture(scope="session")
def few_digits(digits: LabelledImages) -> LabelledImages:
    """200 real digits, 20 of each, mixed."""
    rows = np.arange(5000).reshape(10, 500)[:, :20].T.reshape(-1)
    return digits.take(rows)


@pytest.fixture(scope="session")
def full_data() -> Path:
    """The folder of full datasets; tests that need it skip where it is absent."""
    if not FULL_DATA.is_dir():
        pytest.skip("the full datasets are not beside the checkout")
    return FULL_DATA


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        """Whether it is one."""
        return True


def ci_script(name: str) -> Any:
    """Return a script of .ci/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / ".ci" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_project(folder: Path) -> Path:
    """Copy the project's files without anything that a run produced, and no git."""
    folder.mkdir(parents=True)
    for name in ("pipeline", "stages"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        ROOT / ".dvc",
        folder / ".dvc",
        ignore=shutil.ignore_patterns("cache", "tmp", "config.local"),
    )
    for name in (
        ".dvcignore", ".gitignore", "dvc.yaml", "params.yaml", "pyproject.toml",
        "requirements.lock",
    ):  # fmt: skip
        shutil.copy(ROOT / name, folder / name)
    for name in ("data", "models", "metrics", "plots"):
        (folder / name).mkdir()
    (folder / "metrics/repeat").mkdir()
    shutil.copy(ROOT / "metrics/repeat/.gitignore", folder / "metrics/repeat")
    return folder


@cache
def shipped_settings() -> Settings:
    """Return the settings of the committed params.yaml, read once because reading is slow."""
    return read_params(ROOT / "params.yaml")


@cache
def _shipped_params() -> dict[str, Any]:
    content = dict(YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text("utf-8")))
    few = {name: content["variants"][name] for name in ("tiny", "two_hidden")}
    return content | {"variants": few}


def shipped_params() -> dict[str, Any]:
    """Return the content of the committed params.yaml with two of its variants, to be changed."""
    return deepcopy(_shipped_params())


def write_params(folder: Path, content: dict[str, Any]) -> None:
    """Write a params.yaml."""
    with open(folder / "params.yaml", "w", encoding="utf-8") as file:
        YAML(typ="safe", pure=True).dump(content, file)


@contextmanager
def changed_params(folder: Path) -> Iterator[Any]:
    """Yield the content of a folder's params.yaml; changes are written as DVC writes them."""
    with modify_yaml(folder / "params.yaml") as params:
        yield params


def git_files() -> list[Path]:
    """Return the files that git tracks or would add, or all if there is no repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode == 0:
        files = [ROOT / name for name in filter(None, listed.stdout.split("\0"))]
    else:
        parts = {".venv", ".git", "__pycache__"}
        files = [path for path in ROOT.rglob("*") if not parts & set(path.parts)]
    return [path for path in files if path.is_file()]


def copy_with_little_to_train(folder: Path) -> None:
    """Copy the working tree, with two variants and 2 epochs, and no git."""
    for path in git_files():
        copy = folder / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    with changed_params(folder) as params:
        params["epochs"] = 2
        params["variants"] = {name: params["variants"][name] for name in VARIANTS}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project's files without anything that a run produced, and no git."""
    return copy_project(tmp_path / "project")


@pytest.fixture(autouse=True, scope="session")
def _commands_of_this_python() -> Iterator[None]:
    """Let `dvc` and `python` in subprocesses be those of the running environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"])
        yield


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the working tree in a git repository of its own, with little to train, trained.

    Workers share the first one and copy it.
    """
    shared = tmp_path_factory.getbasetemp().parent / "clone"
    with open(shared.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / ".git").exists():
            copy_with_little_to_train(shared)
            identity = "git config user.email a@example.org && git config user.name a"
            shell(f"git init -q && {identity}", shared)
            shell("dvc repro -q && git add -A && git commit -qm start", shared)
    folder = tmp_path_factory.mktemp("clone") / "project"
    shutil.copytree(shared, folder, symlinks=True)
    return folder
