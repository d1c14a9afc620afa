"""A page to draw a digit on; every network classifies it while it is drawn.

The page is one file that contains all weights. It opens from disk and needs no server.
"""

import base64
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.datasets.examples import ExampleSet
from pipeline.datasets.images import HEIGHT, WIDTH, LabelledImages
from pipeline.datasets.picture import BOX, INK
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model
from pipeline.nn.network import DIVIDED, Network
from pipeline.nn.prediction import predict_probabilities
from pipeline.report.templates import environment

BITS = 15
"""Bits per weight. Float32 would double the page; docs/models.md says what the rounding costs."""
LEVELS = 2 ** (BITS - 1) - 1
"""The largest weight of a layer, in units of the step between two weights."""
MISTAKEN = 10
"""Images to load that most networks get wrong."""

_FOLDER = Path(__file__).parent


def draw_page(
    models: Sequence[Model], test: LabelledImages | None = None, *, is_served: bool = False
) -> str:
    """Return the HTML of the page. All models must be of one dataset.

    models: the best first. Its answer leads, and its layers are shown until another is chosen.
    test: images that the page offers as examples: one of each class, and those that most networks
    get wrong; None if there are none. The weights are those of `rounded`, and the page says how
    far the probabilities of the test images move by that. is_served: whether the page comes from
    `digits serve`, which then prepares pictures, rather than from a file beside the report. The
    same models and images give the same page.
    """
    pages = environment(_FOLDER)
    class_names = models[0].class_names
    examples, effect = [], None
    if test is not None:
        before = [_probabilities(model, test) for model in models]
        after = [_probabilities(rounded(model), test) for model in models]
        examples, effect = _examples(test, before, class_names), _effect(before, after)
    return pages.get_template("draw.html.j2").render(
        style=(_FOLDER / "draw.css").read_text(encoding="utf-8"),
        script=(_FOLDER / "draw.js").read_text(encoding="utf-8"),
        class_names=class_names,
        longest_name=max(map(len, class_names)),
        subject="digit" if all(name.isdecimal() for name in class_names) else "picture",
        networks=[_network(model) for model in models],
        examples=examples,
        effect=effect,
        bits=BITS,
        levels=LEVELS,
        divided=DIVIDED,
        is_served=is_served,
        image={
            "height": HEIGHT,
            "width": WIDTH,
            "box": BOX,
            "ink": INK,
            "pictures": models[0].pictures,
        },
    )


def pictures_of(test: ExampleSet) -> LabelledImages:
    """Return normalised images as the bytes they were made from."""
    images = np.concatenate(
        [
            (255 * block.normalization.undo(block.inputs)).round().clip(0, 255).astype(np.uint8)
            for block in test.blocks()
        ]
    )
    return LabelledImages(images.reshape(-1, HEIGHT, WIDTH), test.labels)


def _effect(before: Sequence[Array], after: Sequence[Array]) -> dict[str, Any]:
    """Return what rounding the weights does to probabilities (N, classes) of each network."""
    pairs = list(zip(before, after, strict=True))
    return {
        "images": len(before[0]),
        "moved": max(float(np.abs(a - b).max()) for a, b in pairs),
        "changed": sum(int((a.argmax(axis=1) != b.argmax(axis=1)).sum()) for a, b in pairs),
    }


def rounded(model: Model) -> Model:
    """Return a model with the weights of the page: whole multiples of a step, in float32.

    The step is the largest absolute weight, or bias, of a layer divided by LEVELS.
    """
    parameters = {
        name: (whole * step).astype(np.float32)
        for name, (whole, step) in _whole(model.network).items()
    }
    return replace(model, network=Network(model.network.architecture, parameters))


def _whole(network: Network) -> dict[str, tuple[NDArray[np.int64], float]]:
    """Return parameters as whole numbers and their step, by name."""
    found = {}
    for name, values in network.parameters.items():
        step = float(np.abs(values).max()) / LEVELS or 1.0
        found[name] = np.round(values.astype(np.float64) / step).astype(np.int64), step
    return found


def _network(model: Model) -> dict[str, Any]:
    """Return what the script of the page needs of a model; the template escapes it."""
    architecture = model.network.architecture
    whole = _whole(model.network)
    numbers = np.concatenate([whole[name][0].ravel() for name in architecture.parameter_shapes()])
    return {
        "variant": model.variant,
        "sizes": architecture.sizes,
        "activation": architecture.activation,
        "output": architecture.output,
        "loss": architecture.loss,
        "mean": model.normalization.mean,
        "std": model.normalization.std,
        "steps": [whole[name][1] for name in architecture.parameter_shapes()],
        "parameters": _text(_packed(numbers + LEVELS)),
    }


def _packed(numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Return numbers from 0 to 2 LEVELS as BITS bits each, the highest bit first."""
    bits = np.empty((len(numbers), BITS), np.uint8)
    for place in range(BITS):
        bits[:, place] = numbers >> (BITS - 1 - place) & 1
    return np.packbits(bits)


def _examples(
    test: LabelledImages, probabilities: Sequence[Array], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the first image of each class, then those that most networks get wrong."""
    firsts = [
        int(np.argmax(test.labels == label))
        for label in range(len(class_names))
        if (test.labels == label).any()
    ]
    wrong = np.sum([each.argmax(axis=1) != test.labels for each in probabilities], axis=0)
    order = np.argsort(-wrong, kind="stable")[:MISTAKEN]
    mistaken = [int(row) for row in order if wrong[row]]
    return [
        {
            "label": class_names[test.labels[row]],
            "wrong": int(wrong[row]) if is_mistaken else None,
            "pixels": _text(test.images[row]),
        }
        for is_mistaken, rows in ((False, firsts), (True, mistaken))
        for row in rows
    ]


def _probabilities(model: Model, test: LabelledImages) -> Array:
    return predict_probabilities(model, model.normalization.apply(test.images))


def _text(values: NDArray[np.uint8]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
