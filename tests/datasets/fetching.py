"""Fetching from sources in tests: nothing may be told and nothing tried again unless asked for."""

from collections.abc import Callable, Mapping
from pathlib import Path

from pipeline.datasets.sources import fetch


def told(message: str) -> None:
    raise AssertionError(f"nothing should be told, but: {message}")


def fetch_from(
    *sources: object,
    into: Path,
    checksums: Mapping[str, str] | None = None,
    report: Callable[[str], None] = told,
    retries: int = 0,
) -> str:
    return fetch(
        tuple(map(str, sources)),
        into,
        checksums=dict(checksums or {}),
        report=report,
        retries=retries,
    )
