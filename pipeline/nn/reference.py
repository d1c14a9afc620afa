"""Training images that a model keeps, to tell whether a picture is like them.

A softmax is sure of something even where it is shown something else: a network of digits calls a
letter an 8, with 99.9 %. So each answer is compared with training images of the predicted class. If
the most similar is less so than for nearly all validation images, the probabilities mean little.
The comparison is coarse, so that the place of a stroke may differ by a pixel. All sums are of whole
numbers and exact in float32, so the bytes of a model depend on nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.examples import Examples, ExampleSet
from pipeline.datasets.images import HEIGHT, WIDTH

IMAGES = 1000
"""Number of training images in a model, divided among its classes."""
FEATURES = HEIGHT * WIDTH // 4
UNLIKE = 0.02
"""Share of validation images that count as unlike the training images."""


@dataclass(frozen=True)
class Reference:
    """Coarse training images `(N, 196)` uint8, their labels `(N,)`, and the least similarity.

    least: the similarity of all but UNLIKE of the validation images is higher.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    least: float

    def similarity(
        self, images: NDArray[np.uint8], predicted: NDArray[np.integer]
    ) -> NDArray[np.float64]:
        """Return the cosine of each image `(n, 28, 28)` and the nearest of its predicted class.

        0 if the reference has none of that class.
        """
        found = np.zeros(len(images))
        ours = coarse(images).astype(np.float32)
        for label in np.unique(predicted):
            rows, known = predicted == label, self.images[self.labels == label].astype(np.float32)
            if len(known):
                products = (ours[rows] @ known.T).astype(np.float64)
                sizes = np.outer(
                    *((each * each).sum(axis=1, dtype=np.float64) for each in (ours[rows], known))
                )
                found[rows] = (products / np.sqrt(np.maximum(sizes, 1))).max(axis=1)
        return found


def choose_reference(
    train: ExampleSet, validation: Examples, predicted: NDArray[np.integer]
) -> Reference:
    """Choose the first training images of each class, and the least similarity.

    predicted: the class that the network predicts for each validation image.
    """
    classes = len(train.description.class_names)
    share = IMAGES // classes
    images, labels = [], []
    missing = np.minimum(np.bincount(train.labels, minlength=classes), share)
    for block in train.blocks():
        for label in np.flatnonzero(missing):
            rows = np.flatnonzero(block.labels == label)[: missing[label]]
            images.append(coarse(_pixels(block, rows)))
            labels.append(block.labels[rows])
            missing[label] -= len(rows)
        if not missing.any():
            break
    known = Reference(np.concatenate(images), np.concatenate(labels), 0.0)
    everything = np.arange(len(validation))
    similarity = np.sort(known.similarity(_pixels(validation, everything), predicted))
    return Reference(known.images, known.labels, float(similarity[int(UNLIKE * len(similarity))]))


def coarse(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blur images `(n, 28, 28)` by a binomial filter and halve their sides: `(n, 196)`."""
    blurred = np.pad(images, ((0, 0), (1, 1), (1, 1))).astype(np.uint16)
    blurred = blurred[:, :-2] + 2 * blurred[:, 1:-1] + blurred[:, 2:]
    blurred = blurred[:, :, :-2] + 2 * blurred[:, :, 1:-1] + blurred[:, :, 2:]
    blocks = blurred.reshape(-1, HEIGHT // 2, 2, WIDTH // 2, 2).sum(axis=(2, 4), dtype=np.uint32)
    features: NDArray[np.uint8] = (blocks >> 6).astype(np.uint8).reshape(-1, FEATURES)
    return features


def _pixels(examples: Examples, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
    brightness = examples.normalization.undo(examples.inputs[rows].astype(np.float64))
    pixels: NDArray[np.uint8] = np.rint(255 * brightness).astype(np.uint8)
    return pixels.reshape(-1, HEIGHT, WIDTH)
