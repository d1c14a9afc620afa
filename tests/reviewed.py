"""Pictures and pages that someone has looked at: a change must not alter them unnoticed.

    make review

writes those that differ to `reviewed/`, to be looked at, and keeps their digests.
"""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
DIGESTS = Path(__file__).with_suffix(".json")
DRAWN_BY = ("matplotlib", "numpy", "pillow", "vl-convert-python")


@dataclass
class Reviewed:
    """Compares with the digests. folder: where to put what differs, if that is to be kept."""

    folder: Path | None

    def check(self, group: str, contents: Mapping[str, str | np.ndarray]) -> None:
        """Compare pages (texts) or pictures (height, width, 4) of a group with those reviewed."""
        locked = dict(
            re.findall(r"^([a-z0-9-]+)==([^ ;]+)", (ROOT / "requirements.lock").read_text(), re.M)
        )
        for name in DRAWN_BY:
            if importlib.metadata.version(name) != locked[name]:
                pytest.skip(f"drawn by another {name} than the locked one")
        found = {name: digest(content) for name, content in contents.items()}
        known = json.loads(DIGESTS.read_text())
        differ = [name for name in found if known.get(group, {}).get(name) != found[name]]
        if self.folder:
            for name in differ:
                write(contents[name], self.folder / f"{group}-{name}")
            DIGESTS.write_text(json.dumps(known | {group: found}, indent=2, sort_keys=True) + "\n")
        else:
            assert found.keys() == known.get(group, {}).keys()
            assert not differ, f"{group}: {', '.join(differ)} changed; run `make review` and look"


def digest(content: str | np.ndarray) -> str:
    """Return a digest of a page or a picture."""
    data = content.encode() if isinstance(content, str) else np.ascontiguousarray(content).tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


def write(content: str | np.ndarray, path: Path) -> None:
    """Write a page or a picture; the suffix is added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, str):
        path.with_name(path.name + ".html").write_text(content, encoding="utf-8")
    else:
        Image.fromarray(np.asarray(content)).save(path.with_name(path.name + ".png"))
