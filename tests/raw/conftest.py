"""Fixtures for tests of sources: a server with small sets of digits, and a folder to fetch into."""

import hashlib

import numpy as np
import pytest

from pipeline.raw import http
from tests.layouts import gzipped, idx_files, write_files
from tests.servers import serve


@pytest.fixture(scope="session")
def files(few_digits):
    """The files of a mirror."""
    rows = np.arange(200)
    training, testing = few_digits.take(rows[:150]), few_digits.take(rows[150:])
    return gzipped(idx_files("train", training) | idx_files("t10k", testing))


@pytest.fixture(scope="session")
def checksums(files):
    return {name: f"md5:{hashlib.md5(content).hexdigest()}" for name, content in files.items()}


@pytest.fixture
def server(tmp_path, files, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(write_files(tmp_path / "served", files)) as server:
        yield server


@pytest.fixture
def raw(tmp_path):
    """An empty folder to fetch data into."""
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


@pytest.fixture
def pauses(monkeypatch):
    """The pauses between attempts, in seconds, recorded instead of waited for."""
    pauses = []
    monkeypatch.setattr(http, "sleep", pauses.append)
    return pauses
