"""A training run's state on disk, every few seconds, so that a killed one loses no more than those.

A checkpoint lies in `FOLDER/VARIANT/` and is named by a digest of all that determines the run: what
was made with other settings, data or code has another name and is never picked up. It holds arrays
without pickle, and the reports as JSON beside them; zip's own checksums tell a damaged one.
"""

import hashlib
import io
import json
import platform
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import PipelineError
from pipeline.files import whole_file
from pipeline.nn.layers import Array
from pipeline.nn.training import EpochReport, Score, Training, TrainingState
from pipeline.params import VariantSettings

FOLDER = Path(".checkpoints")
"""Ignored by git and by DVC."""

EVERY = 5.0
"""Seconds between two checkpoints, at least: a run never loses much more than this."""

_REPORTS = "training.json"
_PARAMETERS, _OPTIMIZER = "parameters/", "optimizer/"


def run_digest(
    settings: VariantSettings,
    others: Mapping[str, int | str],
    device: str,
    data: tuple[Path, ...],
) -> str:
    """Give the SHA-256 of everything that determines a run, as 64 hexadecimal digits.

    That is: the variant's settings, `others` such as the seed, the device, the bytes of the files
    of `data`, all of this package's code, the versions of Python and NumPy.
    """
    package = Path(__file__).parent.parent
    files = [*data, *sorted(package.rglob("*.py"))]
    parts = [
        settings.model_dump_json(),
        json.dumps(others, sort_keys=True),
        device,
        f"{platform.python_version()} {np.__version__}",
        *map(_file_digest, files),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """Where the state of one run of a variant is kept; `warn` is told what cannot be done."""

    variant: str
    digest: str
    warn: Callable[[str], None]
    folder: Path = FOLDER

    @property
    def path(self) -> Path:
        """Give the file's name."""
        return self.folder / self.variant / f"{self.digest}.npz"

    def resume(self, training: Training) -> None:
        """Let a run that has not begun go on from the checkpoint, if there is one.

        One that is damaged is left aside with a warning.
        """
        try:
            training.restore(read_state(self.path))
        except FileNotFoundError:
            return
        except (
            OSError, EOFError, LookupError, TypeError, ValueError, NotImplementedError,
            RuntimeError, zipfile.BadZipFile,
        ) as error:  # fmt: skip
            self.warn(
                f"{self.path} is damaged and left aside; training starts from nothing: "
                f"{error or type(error).__name__}"
            )

    def kept(self, training: Training, every: float = EVERY) -> Iterator[EpochReport]:
        """Pass on the reports of a run, saving its state after an epoch every `every` seconds.

        Where it cannot be saved, that is told once and training goes on: it can still succeed.
        """
        last, refused = time.monotonic(), False
        for report in training.run():
            if not refused and time.monotonic() - last >= every:
                try:
                    write_state(self.path, training.state())
                except PipelineError as error:
                    self.warn(f"an interrupted run will start from nothing: {error}")
                    refused = True
                last = time.monotonic()
            yield report

    def remove(self) -> None:
        """Remove all checkpoints of the variant, those of other settings too."""
        shutil.rmtree(self.folder / self.variant, ignore_errors=True)
        try:
            self.folder.rmdir()
        except OSError:  # other variants have theirs in it, or there never was one
            return


def write_state(path: Path, state: TrainingState) -> None:
    """Write a state. Raises PipelineError where the file system refuses."""
    reports = [  # dataclasses.asdict takes ten times as long, and there may be thousands
        vars(report) | {"train": vars(report.train), "validation": vars(report.validation)}
        for report in state.reports
    ]
    description = {"reports": reports, "order": state.order}
    arrays = {f"{_PARAMETERS}{name}": array for name, array in state.parameters.items()} | {
        f"{_OPTIMIZER}{name}": array for name, array in state.optimizer.items()
    }
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        archive.writestr(_REPORTS, json.dumps(description))
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array, allow_pickle=False)
            archive.writestr(f"{name}.npy", content.getvalue())


def read_state(path: Path) -> TrainingState:
    """Read a state; what a damaged file raises is the caller's."""
    with zipfile.ZipFile(path) as archive:
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
    parameters, optimizer = (
        {
            name.removeprefix(start): array
            for name, array in arrays.items()
            if name.startswith(start)
        }
        for start in (_PARAMETERS, _OPTIMIZER)
    )
    return TrainingState(reports, parameters, optimizer, description["order"])


def _read_array(archive: zipfile.ZipFile, name: str) -> Array:
    array: Array = np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
    return array
