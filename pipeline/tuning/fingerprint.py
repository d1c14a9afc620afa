"""What determines a trial's result besides settings and data: the code, NumPy and Optuna.

Machines with equal fingerprints compute the same bits, whatever their CPU.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from pipeline.base.files import code_digest

PACKAGE = Path(__file__).resolve().parent.parent
CODE = ("base", "datasets", "nn", "tuning")
"""Folders of `pipeline` that choose trials and run them."""


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
    return Fingerprint(code_digest(PACKAGE, CODE), np.__version__, optuna.__version__)
