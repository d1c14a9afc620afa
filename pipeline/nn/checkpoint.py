"""Checkpoints of a training run, written every few seconds, so that a killed run can be resumed.

A checkpoint is stored in `FOLDER/VARIANT/` under a digest of everything that determines the run. A
run with other settings, data or code has another digest and never resumes from it. The file is the
SHA-256 of the rest, which detects damage, and a zip of arrays without pickle, and of the reports as
JSON. The checksums in a zip do not suffice: one flipped bit can hide some of the arrays.
"""

import hashlib
import io
import json
import math
import platform
import shutil
import time
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from pipeline.base.errors import PipelineError, in_one_line
from pipeline.base.files import code_digest, whole_file
from pipeline.base.npz import add_arrays, add_text
from pipeline.base.params import VariantSettings
from pipeline.base.unpack import UNZIP_ERRORS
from pipeline.nn.layers import Array
from pipeline.nn.training import EpochReport, Score, Training, TrainingState

FOLDER = Path(".checkpoints")
"""Ignored by git and by DVC."""

EVERY = 5.0
"""Minimum number of seconds between two checkpoints: a killed run loses little more than this."""

CODE = ("base", "datasets", "nn")
"""Folders of `pipeline` that training runs."""

_DIGEST_BYTES = hashlib.sha256().digest_size
_REPORTS = "training.json"
_STARTS = ("parameters/", "optimizer/", "best/", "snapshots/")


def run_digest(
    settings: VariantSettings,
    others: Mapping[str, int | str],
    files: tuple[Path, ...],
) -> str:
    """Return the SHA-256 of everything that determines a run, as 64 hexadecimal digits.

    These are the variant's settings, `others` such as the seed, the contents of `files` (the data
    and the code that selected them), the code in CODE, and the versions of Python and NumPy. The
    device does not matter: all give the same bytes.
    """
    parts = [
        settings.model_dump_json(),
        json.dumps(others, sort_keys=True),
        f"{platform.python_version()} {np.__version__}",
        *map(_file_digest, files),
        code_digest(Path(__file__).parent.parent, CODE),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Checkpoint:
    """The saved state of one run of a variant. `warn` is called with one line per problem."""

    def __init__(
        self,
        variant: str,
        digest: str,
        warn: Callable[[str], None],
        folder: Path = FOLDER,
        every: float = EVERY,
    ) -> None:
        self.path = folder / variant / f"{digest}.npz"
        self._warn = warn
        self._every = every
        self._due = time.monotonic() + every

    def resume(self, training: Training) -> None:
        """Restore a new run from the checkpoint, if there is one.

        A damaged checkpoint is ignored with a warning.
        """
        try:
            training.restore(read_state(self.path))
        except FileNotFoundError:
            return
        except (OSError, TypeError, *UNZIP_ERRORS) as error:
            self._warn(
                f"{self.path} is damaged and ignored; training starts from the beginning: "
                f"{in_one_line(error)}"
            )

    def save(self, training: Training) -> None:
        """Save the state of a run, unless it was saved less than `every` seconds ago.

        If it cannot be saved, call `warn` once and let training continue without checkpoints.
        """
        if time.monotonic() < self._due:
            return
        try:
            write_state(self.path, training.state())
            self._due = time.monotonic() + self._every
        except PipelineError as error:
            self._warn(f"an interrupted run will start from the beginning: {error}")
            self._due = math.inf

    def remove(self) -> None:
        """Remove all checkpoints of the variant, including those of other settings."""
        shutil.rmtree(self.path.parent, ignore_errors=True)
        try:
            self.path.parent.parent.rmdir()
        except OSError:  # it holds other variants' checkpoints, or does not exist
            return


def write_state(path: Path, state: TrainingState) -> None:
    """Write a state. Raises PipelineError if the file cannot be written."""
    reports = [  # dataclasses.asdict is ten times slower, and there may be thousands
        vars(report) | {"train": vars(report.train), "validation": vars(report.validation)}
        for report in state.reports
    ]
    description = {"reports": reports, "order": state.order}
    arrays = {
        f"{start}{name}": array
        for start, some in zip(
            _STARTS, (state.parameters, state.optimizer, state.best, state.snapshots), strict=True
        )
        for name, array in some.items()
    }
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        add_text(archive, _REPORTS, json.dumps(description))
        add_arrays(archive, arrays)
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(hashlib.sha256(content.getbuffer()).digest())
        file.write(content.getbuffer())


def read_state(path: Path) -> TrainingState:
    """Read a state. Raises ValueError or another of UNZIP_ERRORS if the file is damaged."""
    with open(path, "rb") as file:
        digest, content = file.read(_DIGEST_BYTES), file.read()
    if hashlib.sha256(content).digest() != digest:
        raise ValueError("its content does not have the digest that it starts with")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        description = json.loads(archive.read(_REPORTS))
        arrays = {
            name.removesuffix(".npy"): _read_array(archive, name)
            for name in archive.namelist()
            if name != _REPORTS
        }
    reports = tuple(
        EpochReport(
            report["epoch"],
            Score(**report["train"]),
            Score(**report["validation"]),
            tuple(report["weight_norms"]),
            tuple(report["gradient_norms"]),
        )
        for report in description["reports"]
    )
    parameters, optimizer, best, snapshots = (
        {
            name.removeprefix(start): array
            for name, array in arrays.items()
            if name.startswith(start)
        }
        for start in _STARTS
    )
    return TrainingState(reports, parameters, optimizer, description["order"], best, snapshots)


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    array: Array = np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
    return array
