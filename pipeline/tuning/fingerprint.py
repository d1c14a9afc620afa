"""What determines a trial's result besides settings and data: the code, NumPy and Optuna.

Machines with equal fingerprints compute the same bits, whatever their CPU.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

PACKAGE = Path(__file__).resolve().parent.parent
CODE = ("base", "datasets", "nn", "tuning")
"""Files and folders of `pipeline` that choose trials and run them."""


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of a process: package versions, and a digest of its code."""

    code: str
    numpy: str
    optuna: str

    def refusal(self, other: "Fingerprint") -> str | None:
        """Return why a process with fingerprint `other` cannot run this one's trials, or None."""
        for name in ("numpy", "optuna"):
            own, theirs = getattr(self, name), getattr(other, name)
            if own != theirs:
                return f"has {name} {theirs}, not {own}"
        if self.code != other.code:
            return "has another version of this project's code"
        return None


def own_fingerprint() -> Fingerprint:
    """Return the fingerprint of this process."""
    return Fingerprint(_code(), np.__version__, optuna.__version__)


def _code() -> str:
    digest = hashlib.sha256()
    for part in CODE:
        path = PACKAGE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()
