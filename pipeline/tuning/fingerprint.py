"""What a trial's result depends on besides settings and data: the code, NumPy and Optuna.

A machine that shares all of it gives the same bits, whatever its processor.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

PACKAGE = Path(__file__).resolve().parent.parent
CODE = (
    "datasets/images.py",
    "datasets/parquet.py",
    "datasets/splitting.py",
    "datasets/tables.py",
    "errors.py",
    "files.py",
    "machine.py",
    "nn",
    "params.py",
    "tuning/fingerprint.py",
    "tuning/plan.py",
    "tuning/space.py",
    "tuning/study.py",
    "tuning/trial.py",
    "tuning/worker.py",
)
"""What chooses trials and runs them, in `pipeline`."""


@dataclass(frozen=True)
class Fingerprint:
    """Of one process: versions, and a digest of its code."""

    code: str
    numpy: str
    optuna: str

    def refusal(self, other: "Fingerprint") -> str | None:
        """Say why a process with another fingerprint cannot run this one's trials, if so."""
        for name in ("numpy", "optuna"):
            own, theirs = getattr(self, name), getattr(other, name)
            if own != theirs:
                return f"has {name} {theirs}, not {own}"
        if self.code != other.code:
            return "has another version of this project's code"
        return None


def own_fingerprint() -> Fingerprint:
    """Take the fingerprint of this process."""
    return Fingerprint(_code(), np.__version__, optuna.__version__)


def _code() -> str:
    digest = hashlib.sha256()
    for part in CODE:
        path = PACKAGE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()
