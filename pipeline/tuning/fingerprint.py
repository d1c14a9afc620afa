"""What a trial's result depends on besides settings and data: the code, NumPy, and its kernels.

A machine that shares all of it gives the same bits.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna

from pipeline.processor import CHOICE, is_native

PACKAGE = Path(__file__).resolve().parent.parent
CODE = (
    "datasets/images.py",
    "datasets/parquet.py",
    "datasets/splitting.py",
    "datasets/tables.py",
    "errors.py",
    "files.py",
    "nn",
    "params.py",
    "processor.py",
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
    """Of one process: versions, and digests of its code and of what its kernels compute."""

    code: str
    numpy: str
    optuna: str
    kernels: str

    def refusal(self, other: "Fingerprint") -> str | None:
        """Say why a process with another fingerprint cannot run this one's trials, if so."""
        for name in ("numpy", "optuna"):
            own, theirs = getattr(self, name), getattr(other, name)
            if own != theirs:
                return f"has {name} {theirs}, not {own}"
        if self.code != other.code:
            return "has another version of this project's code"
        if self.kernels != other.kernels:
            native = f"{CHOICE}=native on the same kind of processor and " if is_native() else ""
            return (
                "computes other bits than this machine; start it with "
                f"{native}--preload-nanny pipeline.tuning.preload"
            )
        return None


def own_fingerprint() -> Fingerprint:
    """Take the fingerprint of this process."""
    return Fingerprint(_code(), np.__version__, optuna.__version__, _kernels())


def _code() -> str:
    digest = hashlib.sha256()
    for part in CODE:
        path = PACKAGE / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.relative_to(PACKAGE).as_posix().encode() + file.read_bytes())
    return digest.hexdigest()


def _kernels() -> str:
    """Digest products, exponentials, logarithms and sums: where kernels differ in the last bit."""
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((300, 784), (784, 107)))
    y = x @ w
    results = (y, x.T @ y, np.exp(-np.abs(y)), np.tanh(y), np.log1p(np.abs(y)), y.sum(axis=1))
    return hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest()
