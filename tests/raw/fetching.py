"""Fetching from sources in tests: no reports and no retries unless a test expects them."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.raw.sources import fetch


def fail_on_report(message: str) -> None:
    raise AssertionError(f"unexpected report: {message}")


def fetch_from(
    *sources: object,
    into: Path,
    checksums: Mapping[str, str] | None = None,
    report: Callable[[str], None] = fail_on_report,
    retries: int = 0,
    files: str | None = None,
) -> str:
    return fetch(
        tuple(map(str, sources)),
        into,
        files=files,
        checksums=dict(checksums or {}),
        report=report,
        retries=retries,
    )
