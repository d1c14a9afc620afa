"""A trained network as one `.npz` file: arrays without pickle, and `model.json`.

`numpy.load` reads the arrays, and `unzip -p FILE model.json` shows the rest. The same model gives
the same bytes.
"""

import io
import json
import tokenize
import warnings
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline import __version__
from pipeline.base.errors import ModelError, exact
from pipeline.base.files import whole_file
from pipeline.base.npz import add_arrays, add_text
from pipeline.base.params import sentence, shown
from pipeline.base.unpack import UNZIP_ERRORS
from pipeline.datasets.examples import Pictures
from pipeline.datasets.images import PIXELS
from pipeline.datasets.normalization import Normalization
from pipeline.nn.activations import ACTIVATIONS
from pipeline.nn.losses import LOSSES
from pipeline.nn.network import Architecture, Network
from pipeline.nn.reference import FEATURES, Reference

FORMAT = 2
_DESCRIPTION = "model.json"
_HEADER_LIMIT = 1 << 10
_DESCRIPTION_LIMIT = 1 << 20
MAX_SIZES = 102
"""Maximum number of layer sizes, including input and output; settings allow 100 hidden layers."""
_SMALLEST_STD = 1e-12
"""Below the standard deviation of a trillion images of which one pixel differs."""


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that determine a model: this project and NumPy."""
    return {"handwritten-digits": __version__, "numpy": np.__version__}


@dataclass(frozen=True)
class Model:
    """A network, and what is needed to apply it to a picture and to trace its origin.

    training: the settings of the training run, with seed, dataset, source and number of images.
    pictures: how a user's picture becomes an image such as it was trained on.
    reference: training images to compare a picture with, if the model keeps any.
    versions: versions of the packages that made the model, by name.
    """

    variant: str
    network: Network
    normalization: Normalization
    class_names: tuple[str, ...]
    training: dict[str, Any]
    pictures: Pictures = "digit"
    reference: Reference | None = None
    versions: dict[str, str] = field(default_factory=installed_versions)


def describe(model: Model) -> dict[str, Any]:
    """Return everything about a model but its arrays: the content of model.json."""
    reference = model.reference
    return {
        "format": FORMAT,
        "variant": model.variant,
        "architecture": asdict(model.network.architecture),
        "normalization": asdict(model.normalization),
        "class_names": model.class_names,
        "pictures": model.pictures,
        "reference": reference and {"images": len(reference.labels), "least": reference.least},
        "training": model.training,
        "versions": model.versions,
    }


def save_model(path: Path, model: Model) -> None:
    """Write a model file."""
    reference = model.reference
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        add_text(archive, _DESCRIPTION, json.dumps(describe(model), indent=2) + "\n")
        arrays: dict[str, NDArray[Any]] = dict(model.network.parameters)
        if reference is not None:
            arrays |= {"reference.images": reference.images, "reference.labels": reference.labels}
        add_arrays(archive, arrays)


def load_model(path: Path) -> Model:
    """Read a model file. Raises ModelError, with a one-line message, if it is not valid."""
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > (packed := path.stat().st_size):
                raise ModelError(
                    f"{path} must hold its arrays as they are, uncompressed, "
                    f"got {unpacked} bytes in {packed}"
                )
            return _load(path, archive)
    except FileNotFoundError as error:
        raise ModelError(
            f"{path} does not exist; train it with `dvc repro` or fetch it with `dvc pull`"
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except UNZIP_ERRORS as error:
        raise ModelError(f"{path} is not a model file: {error}") from error


class _Reference(BaseModel):
    images: Annotated[int, Field(gt=0, le=1 << 16)]
    least: Annotated[float, Field(ge=0, le=1)]


class _Description(BaseModel):
    """The schema of model.json."""

    model_config = ConfigDict(strict=True)

    format: Annotated[int, Field(ge=FORMAT, le=FORMAT)]
    variant: str
    architecture: Architecture
    normalization: Normalization
    class_names: tuple[str, ...]
    pictures: Pictures
    reference: _Reference | None
    training: dict[str, Any]
    versions: dict[str, str]


def _load(path: Path, archive: zipfile.ZipFile) -> Model:
    content = _read_entry(path, archive, _DESCRIPTION, _DESCRIPTION_LIMIT)
    try:
        made = _Description.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("format",) and isinstance(first["input"], int):
            raise ModelError(
                f"{path} must have model format {FORMAT}, got {shown(first['input'])}; "
                "train it again with: dvc repro"
            ) from error
        raise ModelError(f"{path} has an invalid {_DESCRIPTION}: {sentence(first)}") from error
    _check(path, made.architecture, made.normalization, made.class_names)
    kept = made.reference
    parameters = {
        name: _read_array(path, archive, name, shape)
        for name, shape in made.architecture.parameter_shapes().items()
    }
    return Model(
        made.variant,
        Network(made.architecture, parameters),
        made.normalization,
        made.class_names,
        made.training,
        made.pictures,
        None if kept is None else _read_reference(path, archive, kept),
        made.versions,
    )


def _read_reference(path: Path, archive: zipfile.ZipFile, kept: _Reference) -> Reference:
    images = _read_array(path, archive, "reference.images", (kept.images, FEATURES), np.uint8)
    labels = _read_array(path, archive, "reference.labels", (kept.images,), np.uint8)
    return Reference(images, labels, kept.least)


def _check(
    path: Path,
    architecture: Architecture,
    normalization: Normalization,
    class_names: tuple[str, ...],
) -> None:
    sizes = architecture.sizes
    known_sizes = all(0 < size < 1 << 20 for size in sizes)
    if not 2 <= len(sizes) <= MAX_SIZES or not known_sizes:
        raise ModelError(f"{path} must have from 2 to {MAX_SIZES} layer sizes > 0, got {sizes}")
    if sizes[0] != PIXELS:
        raise ModelError(f"{path} must take {PIXELS} inputs, one per pixel, got {sizes[0]}")
    if len(class_names) != sizes[-1]:
        raise ModelError(
            f"{path} must name {sizes[-1]} classes, one per output, got {len(class_names)}"
        )
    for value, known in (
        (architecture.activation, ACTIVATIONS),
        (architecture.output, ACTIVATIONS),
        (architecture.loss, LOSSES),
    ):
        if value not in known:
            raise ModelError(f"{path} must use one of {', '.join(known)}, got {value}")
    mean, std = normalization.mean, normalization.std
    if not (0 <= mean <= 1 and _SMALLEST_STD <= std <= 1):
        raise ModelError(
            f"{path} must be normalised by a mean from 0 to 1 and a std from {_SMALLEST_STD:g} "
            f"to 1, got {exact(mean)} and {exact(std)}"
        )


def _read_array(
    path: Path,
    archive: zipfile.ZipFile,
    name: str,
    shape: tuple[int, ...],
    kind: type[np.float32 | np.uint8] = np.float32,
) -> NDArray[Any]:
    size = np.dtype(kind).itemsize * int(np.prod(shape, dtype=np.int64))
    limit = size + _HEADER_LIMIT
    content = io.BytesIO(_read_entry(path, archive, f"{name}.npy", limit))
    try:
        if np.lib.format.read_magic(content) != (1, 0):
            raise ValueError("its npy version must be 1.0")
        # Only the header is parsed by NumPy: numpy.load would allocate whatever a header claims.
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # a header as Python 2 wrote it
            found, by_column, dtype = np.lib.format.read_array_header_1_0(content)
    except (ValueError, TypeError, SyntaxError, UserWarning, tokenize.TokenError) as error:
        raise ModelError(f"{path}: {name} is not an array: {error}") from error
    if found != shape or dtype != kind:
        raise ModelError(
            f"{path}: {name} must be {kind.__name__} of shape {shape}, got {dtype} of {found}"
        )
    values = content.read()
    if len(values) != size:
        raise ModelError(f"{path}: {name} must hold {size} bytes, got {len(values)}")
    order: Literal["F", "C"] = "F" if by_column else "C"
    stored = np.dtype(kind).newbyteorder("<")
    array: NDArray[Any] = (
        np.frombuffer(values, stored).reshape(shape, order=order).astype(kind, "C")
    )
    if not np.isfinite(array).all():
        raise ModelError(f"{path}: {name} must hold finite numbers only")
    return array


def _read_entry(path: Path, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
    try:
        size = archive.getinfo(name).file_size
    except KeyError as error:
        raise ModelError(f"{path} is not a model file: it has no {name}") from error
    if size > limit:
        raise ModelError(f"{path}: {name} must have at most {limit} bytes, got {size}")
    return archive.read(name)
