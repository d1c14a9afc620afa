"""What someone has read or looked at: a change must not alter it unnoticed.

Messages are kept as they are, in `messages.json`; pictures and pages by their digests, in
`reviewed.json`. To accept what a change has altered, run the tests that fail with

    pytest -n 0 --review FOLDER tests/...

It writes pictures and pages that differ to FOLDER, to be looked at; `git diff` shows the messages.
"""

import hashlib
import importlib.metadata
import json
import os
import re
import sys
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DIGESTS = ROOT / "tests/reviewed.json"
MESSAGES = ROOT / "tests/messages.json"
DRAWN_BY = ("matplotlib", "numpy", "pillow", "vl-convert-python")
WORDED_BY = ("click", "numpy", "pillow", "pyarrow", "pydantic")
PYTHON = (3, 11)
"""The Python whose messages these are; others word some differently."""
ELSEWHERE = {
    rf"{re.escape(str(ROOT))}/": "",
    r"/\S*?/pytest-\d+/(popen-gw\d+/)?[^/\s]+": "TMP",
    r"TMP/": "",
    r"(?<=127.0.0.1:)\d+|(?<=--port )\d+": "PORT",
    r"(?<=_ssl.c:)\d+": "LINE",
    r"\d+(?= bytes per second)": "SOME",
    r"\S{22}==(?= |$)": "DIGEST",
}
"""Patterns of what differs between runs and machines, and what stands in their place."""

folder: Path | None = None
"""Where to put what differs, if that is to be accepted. Set by the option --review."""
_told: defaultdict[str, set[str]] = defaultdict(set)


def check_drawn(group: str, contents: Mapping[str, str | np.ndarray]) -> None:
    """Compare pages (texts) or pictures (height, width, 4) of a group with those reviewed."""
    if not _locked(DRAWN_BY):
        pytest.skip("drawn by other packages than the locked ones")
    found = {name: _digest(content) for name, content in contents.items()}
    known = _kept(DIGESTS)
    differ = [name for name in found if known.get(group, {}).get(name) != found[name]]
    if folder:
        for name in differ:
            _write(contents[name], folder / f"{group}-{name}")
        known[group] = found
        _keep(DIGESTS)
        return
    assert found.keys() == known.get(group, {}).keys(), f"{group}: see {__name__}"
    assert not differ, f"{group}: {', '.join(differ)} changed; see {__name__}"


def check_message(message: str) -> None:
    """Compare a message in the running test with those reviewed."""
    test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
    for pattern, instead in ELSEWHERE.items():
        message = re.sub(pattern, instead, message)
    _told[test].add(message)
    known = _kept(MESSAGES)
    if folder:
        known[test] = sorted(_told[test])
        _keep(MESSAGES)
    elif _locked(WORDED_BY) and sys.version_info[:2] == PYTHON:
        assert message in known.get(test, ()), f"see {__name__}"


@cache
def _locked(names: tuple[str, ...]) -> bool:
    """Whether packages are of the locked versions; others draw and word things differently."""
    lock = (ROOT / "requirements.lock").read_text()
    locked = dict(re.findall(r"^([a-z0-9-]+)==([^ ;]+)", lock, re.M))
    return all(importlib.metadata.version(name) == locked[name] for name in names)


@cache
def _kept(path: Path) -> dict[str, Any]:
    """Return the content of a file, read once."""
    content: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return content


def _keep(path: Path) -> None:
    text = json.dumps(_kept(path), indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def _digest(content: str | np.ndarray) -> str:
    data = content.encode() if isinstance(content, str) else np.ascontiguousarray(content).tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def _write(content: str | np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.with_name(path.name + ".html").write_text(content, encoding="utf-8")
    else:
        Image.fromarray(np.asarray(content)).save(path.with_name(path.name + ".png"))
