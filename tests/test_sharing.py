"""The commands of docs/sharing.md, between two people, over a real S3 server on loopback."""

import os
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import requests

from tests.conftest import ROOT, copy_with_little_to_train

PAGE = (ROOT / "docs/sharing.md").read_text()
COMMANDS = [
    command
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for command in block.splitlines()
]
ENDPOINT = "https://s3.example.org"
ORIGIN = "git@example.org:team/digits.git"
BUCKET = "digits"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(find_spec, ("dvc_s3", "moto", "flask"))),
        reason="needs the extras s3 and slow (make extras)",
    ),
]


@contextmanager
def s3_server(folder):
    """Run an S3 server with an empty bucket and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [Path(sys.prefix) / "bin/moto_server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        (folder / "s3.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as server,
    ):
        try:
            until = time.monotonic() + 60
            while True:
                assert server.poll() is None, (folder / "s3.log").read_text()
                try:
                    requests.put(f"{address}/{BUCKET}", timeout=5).raise_for_status()
                    break
                except requests.ConnectionError:
                    assert time.monotonic() < until, "the S3 server does not start"
                    time.sleep(0.1)
            yield address
        finally:
            server.terminate()


class Person:
    """A user with a home folder, credentials for the bucket and a working folder."""

    def __init__(self, home, folder, replaced):
        self.home, self.folder, self.replaced = home, folder, replaced
        home.mkdir()
        (home / ".gitconfig").write_text(
            f"[user]\nname = {home.name}\nemail = {home.name}@example.org\n"
            "[init]\ndefaultBranch = main\n"
        )

    def run(self, command):
        """Run a command of the page with this machine's addresses, and return its output."""
        for written, real in self.replaced.items():
            command = command.replace(written, real)
        if command.startswith("cd "):
            self.folder /= command.removeprefix("cd ")
            return ""
        own = {
            "HOME": str(self.home),
            "DVC_SITE_CACHE_DIR": str(self.home / "site-cache"),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "NO_PROXY": "127.0.0.1",
            "COLUMNS": "200",
        }
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=os.environ | own, capture_output=True,
            text=True, check=False, stdin=subprocess.DEVNULL, timeout=1800,
        )  # fmt: skip
        if done.returncode:
            pytest.fail(f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
        return done.stdout

    def files(self):
        """Return the bytes of every file that the pipeline writes and DVC tracks."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for folder in ("data", "models", "metrics", "plots", "report")
            for path in sorted((self.folder / folder).rglob("*"))
            if path.is_file()
        }


def split(commands, *firsts):
    """Split the commands into parts, each from the first line that starts with one of `firsts`."""
    starts = [
        next(at for at, line in enumerate(commands) if line.startswith(first)) for first in firsts
    ]
    return [commands[start:end] for start, end in zip(starts, [*starts[1:], None], strict=True)]


@pytest.fixture
def anna(tmp_path):
    """A user who has trained two networks for two epochs, with a bare repository as origin."""
    origin = tmp_path / "digits.git"
    person = Person(tmp_path / "anna", tmp_path / "project", {ORIGIN: str(origin)})
    person.folder.mkdir()
    copy_with_little_to_train(person.folder)
    person.run(f"git init -q && git init -q --bare {origin} && git remote add origin {origin}")
    person.run("dvc repro -q && git add -A && git commit -qm start")
    return person


def test_a_team_shares_models_figures_data_and_experiments_as_documented(anna, tmp_path):
    assert COMMANDS, "docs/sharing.md has no commands"
    share, clone, back = split(COMMANDS, "dvc remote add", "git clone", "dvc exp list")
    with s3_server(tmp_path) as address:
        anna.replaced[ENDPOINT] = address
        for command in share:
            anna.run(command)
        made = anna.files()
        for kind in (".npz", ".parquet", ".png", ".json", ".csv", ".html"):
            assert any(name.endswith(kind) for name in made), kind

        (tmp_path / "desk").mkdir()
        ben = Person(tmp_path / "ben", tmp_path / "desk", anna.replaced)
        for command in clone:
            said = ben.run(command)
            if command.startswith("dvc pull"):
                assert ben.files() == made
            if command.startswith("dvc repro"):
                assert "Running stage" not in said
                assert "Data and pipelines are up to date." in said
                assert ben.files() == made
                assert ben.run("git status --porcelain") == ""
            if command.startswith("dvc exp run"):
                ran = re.findall(r"Running stage '(.*)'", said)
                assert ran == ["train@tiny", "evaluate@tiny", "visualize@tiny", "compare", "report"]
        improved = ben.files()
        assert {name for name in made if improved[name] != made[name]} >= {
            "models/tiny.npz",
            "metrics/variants/tiny.json",
            "metrics/summary.json",
        }
        assert improved["models/two_hidden.npz"] == made["models/two_hidden.npz"]

        for command in back:
            said = anna.run(command)
            if command.startswith("dvc exp list"):
                assert "quicker" in said
        assert anna.files() == improved
        assert "Data and pipelines are up to date." in anna.run("dvc repro")
