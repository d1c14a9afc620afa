"""Labelled images as Parquet: columns `label` and `image`, and what they are in the metadata.

Pixels are stored as `uint8` after `convert` and as `float32` after `split`. A normalised pixel
takes one of 256 values, so dictionary encoding keeps the second file as small as the first. The
same content gives the same bytes.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH, LabelledImages
from pipeline.datasets.splitting import Normalization
from pipeline.errors import DataError
from pipeline.files import whole_file

ROW_GROUP = 16_384


@dataclass(frozen=True)
class Description:
    """What a table holds, kept in its schema metadata.

    source: which published set the content is, or its digests; the same for every wrapping.
    """

    dataset: str
    class_names: tuple[str, ...]
    source: str


@dataclass(frozen=True)
class Examples:
    """Normalised images, ready for a network. inputs: (N, 784) float32; labels: (N,) uint8."""

    inputs: NDArray[np.float32]
    labels: NDArray[np.uint8]
    description: Description
    normalization: Normalization

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int | None) -> "Examples":
        """Give the first `count` examples, or all if there are fewer or `count` is None."""
        return Examples(
            self.inputs[:count], self.labels[:count], self.description, self.normalization
        )


def write_images(path: Path, data: LabelledImages, description: Description) -> None:
    """Write raw images as `image: fixed_size_list<uint8>[784]`."""
    _write(path, data.images, data.labels, _metadata(description), dictionary=False)


def write_examples(path: Path, examples: Examples) -> None:
    """Write normalised images as `image: fixed_size_list<float>[784]`."""
    metadata = _metadata(examples.description) | {
        "normalization": json.dumps(asdict(examples.normalization))
    }
    _write(path, examples.inputs, examples.labels, metadata, dictionary=True)


def read_images(path: Path) -> tuple[LabelledImages, Description]:
    """Read what `write_images` wrote. Raises DataError for anything else."""
    pixels, labels, metadata = _read(path, pa.uint8())
    images = LabelledImages(pixels.reshape(-1, HEIGHT, WIDTH), labels)
    return images, _description(path, metadata)


def read_examples(path: Path) -> Examples:
    """Read what `write_examples` wrote. Raises DataError for anything else."""
    pixels, labels, metadata = _read(path, pa.float32())
    try:
        normalization = Normalization(**json.loads(metadata[b"normalization"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} has no normalization in its metadata") from error
    return Examples(pixels, labels, _description(path, metadata), normalization)


def _write(
    path: Path,
    pixels: NDArray[Any],
    labels: NDArray[np.uint8],
    metadata: dict[str, str],
    *,
    dictionary: bool,
) -> None:
    kind = pa.from_numpy_dtype(pixels.dtype)
    schema = pa.schema(
        [
            pa.field("label", pa.uint8(), nullable=False),
            pa.field(
                "image", pa.list_(pa.field("pixel", kind, nullable=False), PIXELS), nullable=False
            ),
        ],
        metadata=metadata,
    )
    images = pa.FixedSizeListArray.from_arrays(
        pa.array(pixels.reshape(-1)), type=schema.field("image").type
    )
    table = pa.Table.from_arrays([pa.array(labels), images], schema=schema)
    with whole_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=ROW_GROUP,
            compression="zstd",
            compression_level=1,
            use_dictionary=["image.list.element"] if dictionary else False,
            write_statistics=False,
        )


def _read(path: Path, kind: pa.DataType) -> tuple[NDArray[Any], NDArray[Any], dict[bytes, bytes]]:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is not a Parquet file of images: {reason}") from error
    schema = table.schema
    if (
        schema.names != ["label", "image"]
        or not pa.types.is_fixed_size_list(schema.field("image").type)
        or schema.field("image").type.list_size != PIXELS
        or schema.field("image").type.value_type != kind
        or schema.field("label").type != pa.uint8()
    ):
        raise DataError(f"{path} must have columns label: uint8, image: {kind}[{PIXELS}]")
    pixels = table["image"].combine_chunks().flatten().to_numpy().reshape(-1, PIXELS)
    return pixels, table["label"].to_numpy(), schema.metadata or {}


def _metadata(description: Description) -> dict[str, str]:
    return {
        "dataset": description.dataset,
        "shape": json.dumps([HEIGHT, WIDTH]),
        "class_names": json.dumps(description.class_names),
        "source": description.source,
    }


def _description(path: Path, metadata: dict[bytes, bytes]) -> Description:
    try:
        return Description(
            metadata[b"dataset"].decode(),
            tuple(json.loads(metadata[b"class_names"])),
            metadata[b"source"].decode(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} does not say what it holds in its metadata") from error
