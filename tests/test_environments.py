"""A small run of the whole pipeline gives the same bytes in unusual environments."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from pipeline.base.command import Command
from tests.conftest import ROOT, changed_params, copy_project
from tests.layouts import content_of

RESULTS = ("data", "metrics", "models", "plots", "report")
NOBODY, NO_ONE = 65534, 54321
"""A user without privileges, and an id that belongs to no user."""
SUITE = (
    "tests/datasets", "tests/figures", "tests/nn", "tests/report/test_report_page.py",
    "tests/test_commands.py", "tests/test_evaluation.py", "tests/test_files.py",
    "tests/test_params.py",
)  # fmt: skip


def small_project(folder):
    """A git repository of the project with one network and one epoch."""
    copy_project(folder)
    shutil.copy(ROOT / "Makefile", folder)
    with changed_params(folder) as params:
        params["epochs"] = 1
        params["variants"] = {"tiny": params["variants"]["tiny"]}
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def environment(**changes):
    """Return this process's variables with changes; None removes a variable."""
    merged = os.environ | {"DVC_NO_ANALYTICS": "1"} | changes
    return {name: value for name, value in merged.items() if value is not None}


def make(folder, before=(), **options):
    """Run `make` without installing packages, prefixed by a command, and return the results."""
    done = subprocess.run(
        [*before, "make", "-o", "setup"],
        cwd=folder,
        text=True,
        encoding="utf-8",
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **{"env": environment()} | options,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "Traceback" not in done.stdout
    assert "Look next at report/index.html" in done.stdout
    return results(folder)


def results(folder):
    """Return every file that a run leaves for its user."""
    found = {"dvc.lock": (folder / "dvc.lock").read_bytes()}
    for name in RESULTS:
        found |= {f"{name}/{path}": held for path, held in content_of(folder / name).items()}
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The results of a run in the usual environment."""
    found = make(small_project(tmp_path_factory.mktemp("usual") / "project"))
    assert len(found) > 20
    return found


@pytest.fixture
def shared():
    """A folder that any user may enter."""
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="digits-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def as_user(number):
    """Return a prefix that runs a command as another user, or skip if that is impossible."""
    change = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("only root can run something as another user")
    # Through `env`, as make starts DVC: a direct child of setpriv may keep privileges of root.
    by_way = [*change, "env", sys.executable, "-c", ""]
    if subprocess.run(by_way, check=False, cwd="/", stderr=subprocess.DEVNULL).returncode:
        pytest.skip(f"another user cannot run {sys.executable}")
    return change


@pytest.mark.slow
def test_a_folder_with_spaces_quotes_and_characters_of_other_scripts(expected, tmp_path):
    folder = small_project(tmp_path / "Мои файлы $x 'q' \"数字\" #%&;" / "pro ject é")
    assert make(folder) == expected


@pytest.mark.slow
def test_the_c_locale_in_a_folder_of_another_script(expected, tmp_path):
    folder = small_project(tmp_path / "数字 é")
    assert make(folder, env=environment(LC_ALL="C", LANG="C")) == expected


@pytest.mark.slow
def test_no_home(expected, tmp_path):
    folder = small_project(tmp_path / "project")
    assert make(folder, env=environment(HOME=None)) == expected


@pytest.mark.slow
def test_no_terminal(expected, tmp_path):
    folder = small_project(tmp_path / "project")
    env = environment(TERM=None, COLUMNS=None, DISPLAY=None)
    assert make(folder, env=env, start_new_session=True) == expected


@pytest.mark.slow
def test_one_core(expected, tmp_path):
    core = min(os.sched_getaffinity(0))
    folder = small_project(tmp_path / "project")
    assert make(folder, ["taskset", "-c", str(core)]) == expected


@pytest.mark.slow
def test_files_that_only_their_owner_can_read(expected, tmp_path):
    folder = small_project(tmp_path / "project")
    assert make(folder, umask=0o077) == expected
    for name in results(folder):
        assert not (folder / name).stat().st_mode & 0o077 or name.endswith(".gitignore"), name


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "home"),
    [(NOBODY, None), (NO_ONE, None), (NO_ONE, "/")],
    ids=["nobody", "a bare number", "a bare number in a container"],
)
def test_a_user_who_can_write_only_to_the_project(expected, shared, number, home):
    change = as_user(number)
    folder = small_project(shared / "project")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, number, number)
    env = {"PATH": os.environ["PATH"], "DVC_NO_ANALYTICS": "1"} | ({"HOME": home} if home else {})
    assert make(folder, change, env=env) == expected


@pytest.mark.slow
def test_read_only_packages(expected, tmp_path):
    packages = sysconfig.get_path("purelib")
    before = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    read_only = f'mount --bind "{packages}" "{packages}" && mount -o remount,ro,bind "{packages}"'
    before += ["sh", "-ec", f'{read_only}; ! touch "{packages}/x" 2>/dev/null; exec "$@"', "sh"]
    if not shutil.which("unshare") or subprocess.run([*before, "true"], check=False).returncode:
        pytest.skip("mounting is not possible here")
    folder = small_project(tmp_path / "project")
    assert make(folder, before, env=environment(PYTHONDONTWRITEBYTECODE=None)) == expected


def run(*command, **options):
    """Run a command that must succeed, and return its output."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return done.stdout


def fresh_environment(python, folder, requirements, *options):
    """Create a virtual environment with these requirements and the project; return its PATH."""
    run(python, "-m", "venv", folder)
    pip = [folder / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    installed = subprocess.run(
        [*pip, *options, "-r", requirements], capture_output=True, text=True, check=False
    )
    if "No matching distribution" in installed.stderr:
        pytest.skip("the package index cannot be reached")
    assert installed.returncode == 0, installed.stderr[-3000:]
    run(*pip, "--no-deps", "--no-build-isolation", "-e", ROOT)
    return os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13", "3.14"])
def test_every_supported_python_with_the_locked_packages(expected, tmp_path, version):
    python = shutil.which(f"python{version}")
    if not python or subprocess.run([python, "-c", ""], check=False).returncode:
        pytest.skip(f"there is no Python {version}")
    path = fresh_environment(
        python, tmp_path / "venv", ROOT / "requirements.lock", "--require-hashes"
    )
    folder = small_project(tmp_path / "project")
    assert make(folder, env=environment(PATH=path)) == expected


@pytest.mark.slow
def test_the_oldest_packages_that_pyproject_allows_pass_the_tests(tmp_path):
    if not shutil.which("uv"):
        pytest.skip("uv is not installed")
    oldest = tmp_path / "oldest.txt"
    run(
        *("uv", "pip", "compile", "--quiet", "--resolution", "lowest-direct"),
        *("--extra", "test", "--extra", "build", "--python", sys.executable),
        *(ROOT / "pyproject.toml", "-o", oldest),
    )
    path = fresh_environment(sys.executable, tmp_path / "venv", oldest)
    python = tmp_path / "venv/bin/python"
    run(python, "-m", "pytest", "-q", *SUITE, cwd=ROOT, env=environment(PATH=path))


@pytest.mark.parametrize("charset", ["ascii", "latin-1", "utf-8"])
def test_a_terminal_that_lacks_characters_of_a_name_shows_the_rest(charset):
    @click.command(cls=Command)
    def show():
        click.echo("class 零 of 10")

    shown = CliRunner(charset=charset).invoke(show)
    assert shown.exception is None
    assert shown.stdout_bytes.startswith(b"class ")
    assert shown.stdout_bytes.endswith(b" of 10\n")
