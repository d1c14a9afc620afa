"""A small copy of the project to break, and what all breakages are measured by."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, changed_params, copy_project

VARIANTS = ("tiny", "two_hidden")
EPOCHS = {"tiny": 150, "two_hidden": 3}
OUTPUTS = ("data", "models", "metrics", "plots", "report", "dvc.lock")


def make_project(folder: Path, lock: bytes | None = None) -> Path:
    """Copy the project with two variants, which train shortly and keep checkpoints often.

    lock: a dvc.lock to start with, as the project's own is committed. DVC takes independent stages
    in any order and keeps the order of those it finds; the digests are made wrong, so that every
    stage runs.
    """
    copy_project(folder)
    for part in ("data", "models", "metrics", "plots"):
        shutil.copy(ROOT / part / ".gitignore", folder / part / ".gitignore")
    if lock is not None:
        stale = re.sub(rb"md5: [0-9a-f]{32}", b"md5: " + b"f" * 32, lock)
        (folder / "dvc.lock").write_bytes(stale)
    with changed_params(folder) as params:
        params["variants"] = {name: params["variants"][name] for name in VARIANTS}
        for name, epochs in EPOCHS.items():
            params["variants"][name]["epochs"] = epochs
    code = folder / "pipeline" / "nn" / "checkpoint.py"
    often = code.read_text().replace("EVERY = 5.0\n", "EVERY = 0.1\n")
    assert "EVERY = 0.1\n" in often
    code.write_text(often)
    shell("git init -q && git config user.email a@example.org && git config user.name a", folder)
    shell("git add -A && git commit -qm start", folder)
    return folder


def environment() -> dict[str, str]:
    """Let `dvc` and `python` be those of the running environment, in the project's own code."""
    scripts = str(Path(sys.executable).parent)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return kept | {"PATH": scripts + os.pathsep + os.environ["PATH"], "DVC_NO_ANALYTICS": "1"}


def shell(command: str, folder: Path, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end."""
    result = subprocess.run(
        command, shell=True, cwd=folder, env=environment(), capture_output=True, text=True,
        check=False, stdin=subprocess.DEVNULL, timeout=1800,
    )  # fmt: skip
    assert not check or not result.returncode, f"{command}\n{result.stdout}\n{result.stderr}"
    return result


def content(folder: Path) -> dict[str, bytes]:
    """Return every file that a user sees, with its bytes: nothing else may be left anywhere."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        hidden = name.parts[0] == ".git" or name.parts[:2] in ((".dvc", "tmp"), (".dvc", "cache"))
        if not hidden and "__pycache__" not in name.parts and path.is_file():
            files[name.as_posix()] = path.read_bytes()
    return files


def differences(expected: dict[str, bytes], got: dict[str, bytes]) -> list[str]:
    """Name the files that differ, that are missing or that should not be there."""
    wrong = []
    for name in sorted(expected.keys() | got.keys()):
        if name not in got:
            wrong.append(f"{name} is missing")
        elif name not in expected:
            wrong.append(f"{name} is left")
        elif got[name] != expected[name]:
            wrong.append(f"{name} differs")
    return wrong


def processes_in(folder: Path) -> list[str]:
    """Return the command lines of processes that still run in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").resolve() == folder.resolve():
                found.append(process.joinpath("cmdline").read_text().replace("\0", " ").strip())
        except OSError:  # it ended meanwhile, or belongs to somebody else
            continue
    return [command for command in found if command]
