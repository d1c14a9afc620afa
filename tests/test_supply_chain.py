"""Only the locked packages are installed, byte for byte."""

import hashlib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler

import pytest

from tests.conftest import ROOT, ci_script, git_files
from tests.servers import listening

LOCKS = sorted(ROOT.glob("requirements*.lock"))
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")
SMALL = "iniconfig"
"""A package of the lock that consists of one small wheel for every platform."""


def entries(lock):
    """Return a lock's entries, one line per package, without comments."""
    lines = [line for line in lock.read_text().splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def locked_entry(name, lock="requirements-test.lock"):
    """Return what a lock says about a package."""
    (entry,) = [entry for entry in entries(ROOT / lock) if entry.startswith(f"{name}==")]
    return entry


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_entry_of_a_lock_is_one_version_with_hashes(lock):
    found = entries(lock)
    assert found
    for entry in found:
        assert re.match(r"[A-Za-z0-9][\w.-]*==[^\s;*]+ ", entry), entry
        assert HASH.search(entry), entry
        without = HASH.sub("", entry)
        assert "--" not in without, entry
        assert "://" not in without, entry


def test_every_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {
        "requirements.lock": [*project["dependencies"], *extras["sweep"], *extras["build"]],
        "requirements-test.lock": [*extras["test"], *extras["lint"]],
    }
    for lock, requirements in needed.items():
        for requirement in requirements:
            name = re.match(r"[\w.-]+", requirement)[0].replace(".", "-")
            assert locked_entry(name, lock), name


def test_the_locks_agree():
    versions = {}
    for lock in ("requirements.lock", "requirements-test.lock", "requirements-extras.lock"):
        for entry in entries(ROOT / lock):
            name, version = entry.split()[0].split("==")
            assert versions.setdefault(name, version) == version, (lock, name)


@pytest.mark.parametrize("version", [(3, 10, 2), (3, 15, 0)])
def test_setup_refuses_a_python_without_locked_wheels_before_it_touches_anything(tmp_path, version):
    for path in (ROOT / "Makefile", ROOT / "pyproject.toml", *LOCKS):
        shutil.copy(path, tmp_path)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv/earlier").touch()
    code = f"import sys; sys.version_info = {version}\n$2"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -c "{code}"\n')
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "-s", "setup", f"PYTHON={python}"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    message, of_make = done.stderr.splitlines()
    assert message == (
        f"the locked packages are for Python 3.11, 3.12, 3.13, 3.14, got 3.{version[1]}; "
        "choose one of these with: make PYTHON=python3.14"
    )
    assert re.match(r"make(\[\d\])?: \*\*\*", of_make)
    assert [path.name for path in (tmp_path / ".venv").iterdir()] == ["earlier"]


def test_make_installs_only_what_is_locked():
    makefile = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    installs = re.findall(r"\bpip install\b(?:(?!\|\|).)*", makefile)
    assert len(installs) > 2
    for lock in re.findall(r"\$\(call install,[^,]*,(.*?)\)", makefile):
        assert ROOT / lock in LOCKS
    for command in installs:
        locked = "--require-hashes" in command and re.search(
            r"-r (requirements[\w-]*\.lock|\$\(2\))", command
        )
        own = "--no-deps" in command and "--no-build-isolation" in command
        # Neither has wheels for every platform, as is noted where each is specified.
        apart = "-r benchmarks/requirements.txt" in command or "'.[fuzz]'" in command
        assert locked or own or apart, command
    for script in (path for path in (ROOT / ".ci").iterdir() if path.is_file()):
        assert "pip install" not in script.read_text(), script


def test_no_file_names_the_host_of_a_package_index():
    # Written in parts, so that this file itself passes.
    names = ("pypi", "org"), ("pythonhosted", "org"), ("anaconda", "org"), ("pypi", "nvidia", "com")
    spelt = re.compile("|".join(re.escape(".".join(name)) for name in names).encode())
    options = re.compile(
        rb"(?i)(?<!emit-)index[-_]url[ =]+[^\s-]|find[-_]links[ =]+\S|trusted[-]host"
    )
    files = git_files()
    assert ROOT / "requirements.lock" in files
    for path in files:
        content = path.read_bytes()
        assert not spelt.search(content), path
        assert not options.search(content), path


def counterfeit(folder, name):
    """Write a wheel with the locked name and version, but different content."""
    version = re.match(r"[\w.-]+==(\S+)", locked_entry(name))[1]
    described = f"{name}-{version}.dist-info"
    content = {
        f"{name}/__init__.py": "evil = True\n",
        f"{described}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{described}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    content[f"{described}/RECORD"] = "".join(f"{file},,\n" for file in content)
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for file, text in content.items():
            archive.writestr(file, text)
    return wheel


def install(tmp_path, requirement, *options):
    """Install a line of a lock as the Makefile does, but into a separate folder."""
    (tmp_path / "copy.lock").write_text(requirement)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"),
            *("--require-hashes", "-r", str(tmp_path / "copy.lock")),
            *("--no-deps", "--target", str(tmp_path / "installed"), *map(str, options)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def shelf(tmp_path):
    """A folder that contains a different file under the name of a locked one."""
    (tmp_path / "shelf").mkdir()
    counterfeit(tmp_path / "shelf", SMALL)
    return tmp_path / "shelf"


def install_from(shelf, requirement):
    return install(shelf.parent, requirement, "--isolated", "--no-index", "--find-links", shelf)


def test_pip_refuses_a_different_file_under_a_locked_name(shelf, tmp_path):
    refused = install_from(shelf, locked_entry(SMALL))
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "installed").exists()


@pytest.mark.slow
def test_pip_refuses_a_line_without_a_hash_and_accepts_one_with_the_right_hash(shelf, tmp_path):
    bare = HASH.sub("", locked_entry(SMALL))
    refused = install_from(shelf, bare)
    assert refused.returncode == 1
    assert "--hash" in refused.stderr
    (wheel,) = shelf.iterdir()
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    done = install_from(shelf, f"{bare} --hash=sha256:{digest}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "installed" / SMALL / "__init__.py").exists()


@pytest.mark.slow
def test_pip_refuses_the_real_file_when_the_locks_hash_is_falsified(tmp_path):
    entry = locked_entry(SMALL)
    if install(tmp_path, entry).returncode:
        pytest.skip("the package index cannot be reached")
    falsified = re.sub(r"(?<=sha256:)[0-9a-f]", lambda digit: f"{15 - int(digit[0], 16):x}", entry)
    (tmp_path / "other").mkdir()
    refused = install(tmp_path / "other", falsified)
    assert refused.returncode == 1
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "other" / "installed").exists()


@pytest.fixture
def audit():
    """The script .ci/audit.py, as a module."""
    return ci_script("audit")


DISKCACHE = {"diskcache": ["GHSA-w8v5-vhqr-4h9v"]}
ALIASES = {"GHSA-w8v5-vhqr-4h9v": ["CVE-2025-69872", "PYSEC-0"], "GHSA-1": ["PYSEC-2"]}


class _Advisories(BaseHTTPRequestHandler):
    """Responds like OSV, or with the given status and text."""

    def __init__(self, affected, status, text, *args):
        self.affected, self.status, self.text = affected, status, text
        super().__init__(*args)

    def do_GET(self):
        name = self.path.removeprefix("/v1/vulns/")
        self.respond({"id": name} | ({"aliases": ALIASES[name]} if name in ALIASES else {}))

    def do_POST(self):
        assert self.path == "/v1/querybatch"
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        results = [
            {"vulns": [{"id": name} for name in self.affected[query["package"]["name"]]]}
            if query["package"]["name"] in self.affected
            else {}
            for query in asked
        ]
        self.respond({"results": results})

    def respond(self, answer):
        body = (self.text or json.dumps(answer)).encode()
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def check(audit, monkeypatch, capsys):
    """A function that audits the locks with a fake service; returns exit code and output lines."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def check(affected=None, status=200, text=None, url=None):
        affected = DISKCACHE if affected is None else affected
        with listening(partial(_Advisories, affected, status, text)) as port:
            service = url or f"http://127.0.0.1:{port}"
            monkeypatch.setattr(sys, "argv", ["audit.py", *map(str, LOCKS), "--service", service])
            try:
                audit.main()
                code = 0
            except SystemExit as end:
                code = end.code
        return code, capsys.readouterr().out.splitlines()

    return check


def test_the_audit_asks_about_every_locked_package_and_passes_with_what_is_accepted(audit, check):
    names = {re.split("==", entry)[0] for lock in LOCKS for entry in entries(lock)}
    assert {name for name, _ in audit.locked_packages(LOCKS)} == names
    code, (accepted, line) = check()
    assert code == 0
    assert re.fullmatch(r"diskcache \S+: GHSA-w8v5-vhqr-4h9v \(DVC needs .*\)", accepted)
    assert re.fullmatch(r"1 of \d+ locked packages have known vulnerabilities\.", line)


def test_the_audit_fails_for_an_advisory_that_is_not_accepted_and_names_it(check):
    code, lines = check(DISKCACHE | {"numpy": ["GHSA-1", "PYSEC-2"], "click": ["GHSA-3"]})
    assert code == 1
    assert re.fullmatch(r"click \S+: GHSA-3", lines[0])
    assert lines[1].startswith("diskcache ")
    assert re.fullmatch(r"numpy \S+: GHSA-1", lines[2])
    assert re.fullmatch(r"numpy \S+: PYSEC-2", lines[3])
    assert lines[4].startswith("3 of ")


def test_the_audit_fails_for_an_accepted_advisory_that_no_package_has_any_more(check):
    code, (stale, line) = check({})
    assert code == 1
    assert stale.startswith("CVE-2025-69872 is accepted, but no locked package has it")
    assert line.startswith("0 of ")


@pytest.mark.parametrize(
    "fault",
    [
        {"url": "http://127.0.0.1:9"},
        {"status": 503},
        {"status": 403},
        {"text": "<html>Please log in</html>"},
    ],
    ids=str,
)
def test_an_unreachable_service_is_reported_in_one_line_and_the_audit_passes(check, fault):
    code, (line,) = check(**fault)
    assert code == 0
    assert line.startswith("No advisories were checked: http://127.0.0.1:")


def test_the_audit_fails_if_its_query_is_refused(check):
    code, lines = check(status=400, text="Invalid query")
    assert "refuses the query: 400 Invalid query" in code
    assert lines == []


def test_ci_audits_every_lock():
    assert ".ci/audit.py requirements*.lock" in (ROOT / ".ci" / "run").read_text()
