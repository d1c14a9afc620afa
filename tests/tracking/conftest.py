"""A tracker that records what it is told, in place of a package."""

import pytest

from pipeline.tracking import run as tracking_run


class Recorder:
    """A tracker that records its calls, and raises in the methods named in `broken`."""

    calls: list[tuple]
    broken: frozenset[str] = frozenset()
    reason = "no answer\ntoday"

    def __init__(self, description, run):
        self.run = run or "new"
        self.place = "https://anna:secret@example.org/runs"
        self._hear("start", description, run)

    def _hear(self, event, *content):
        self.calls.append((event, *content))
        if event in self.broken:
            raise ConnectionError(self.reason)

    def log(self, reports):
        self._hear("log", [epoch for epoch, _ in reports])

    def metrics(self, metrics):
        self._hear("metrics", metrics)

    def results(self, results):
        self._hear("results", results.metrics)

    def end(self, status):
        self._hear("end", status)


@pytest.fixture
def recorder(monkeypatch, tmp_path):
    """A recording tracker instead of MLflow, and an empty working directory."""
    fresh = type("Recorder", (Recorder,), {"calls": []})
    monkeypatch.setattr(tracking_run, "_tracker", lambda name: fresh)
    monkeypatch.chdir(tmp_path)
    return fresh
