"""The model card of a trained network: what trained it, on what, how good it is, where it fails.

Source: Mitchell et al. 2019, https://doi.org/10.1145/3287560.3287596.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.base.errors import DataError
from pipeline.datasets.examples import Examples
from pipeline.metrics import confusion_counts, wilson_interval
from pipeline.nn.model_file import Model
from pipeline.nn.prediction import check_fits, check_images, predict_probabilities
from pipeline.nn.reference import UNLIKE

CONFUSIONS = 5
"""Number of pairs of classes that a card names."""


def card_text(model: Model, files: list[str], test: Examples | None) -> str:
    """Return the card of a model as Markdown.

    files: names of the exported files that it describes. test: the test images, or None if there
    are none at hand; the accuracy is measured, not copied.
    """
    architecture = model.network.architecture
    names = ", ".join(f"`{file}`" for file in files)
    sizes = "-".join(map(str, architecture.sizes))
    prepared = {
        "digit": "strokes light on black, scaled and centred as in MNIST",
        "as_is": "as the images of the dataset, light on black",
    }[model.pictures]
    lines = [
        f"# {_text(model.variant)}",
        "",
        f"A fully connected network, {sizes}, {architecture.parameter_count():,} parameters, "
        f"hidden layers {architecture.activation}, output {architecture.output}. Files: {names}.",
        "",
        f"- **Input**: grey images of 28x28 pixels, 0 to 255, {prepared}.",
        f"- **Output**: a probability for each of {len(model.class_names)} classes: "
        f"{_text(', '.join(model.class_names))}.",
        f"- **Normalisation**: (grey / 255 - {model.normalization.mean:.9g}) / "
        f"{model.normalization.std:.9g}; included in ONNX, not in safetensors.",
        "",
        "## Training",
        "",
        *_table(model),
        "",
        "## Accuracy",
        "",
        *_accuracy(model, test),
        "",
        "## Known failures",
        "",
        *_failures(model, test),
        "- Whatever the network is shown, some class gets a high probability: a letter, a scribble "
        "or an empty field too.",
    ]
    if model.reference is not None:
        lines.append(
            "- `digits predict` warns of images whose similarity to training images is below "
            f"{model.reference.least:.3f}, as it is for {UNLIKE:.0%} of the validation images. It "
            "notices some of what is not of the dataset, not all. Exported files have no such "
            "check."
        )
    return "\n".join(lines) + "\n"


def _table(model: Model) -> list[str]:
    entries: dict[str, Any] = {}
    for name, value in (model.training | model.versions).items():
        entries |= value if isinstance(value, dict) else {name: value}
    rows = [f"| {_text(str(name))} | {_text(str(value))} |" for name, value in entries.items()]
    return ["| | |", "| --- | --- |", *rows]


def _accuracy(model: Model, test: Examples | None) -> list[str]:
    if test is None:
        return ["Not measured: the test images of its dataset were not at hand."]
    right = int((_predicted(model, test) == test.labels).sum())
    low, high = wilson_interval(right, len(test))
    return [
        f"{right / len(test):.2%} of {len(test):,} test images of "
        f"{_text(test.description.dataset)} (95 % interval {low:.2%} to {high:.2%}), "
        "which took no part in training."
    ]


def _failures(model: Model, test: Examples | None) -> list[str]:
    """Return the most frequent confusions on the test images."""
    if test is None:
        return []
    counts = confusion_counts(test.labels, _predicted(model, test), len(model.class_names))
    wrong = counts - np.diag(counts.diagonal())
    found = []
    for cell in np.argsort(-wrong, axis=None, kind="stable")[:CONFUSIONS]:
        true, predicted = divmod(int(cell), len(counts))
        if count := wrong[true, predicted]:
            names = (_text(model.class_names[label]) for label in (true, predicted))
            found.append(f"- {' read as '.join(names)}: {count} of {counts[true].sum()}")
    return found


def _predicted(model: Model, test: Examples) -> NDArray[np.integer]:
    predicted: NDArray[np.integer] = predict_probabilities(model, test.inputs).argmax(axis=1)
    return predicted


def _text(text: str) -> str:
    """Escape what Markdown would interpret."""
    return "".join(f"\\{char}" if char in r"\`*_{}[]<>#|~" else char for char in text)


def fitting(model: Model, test: Examples) -> Examples | None:
    """Return the test images if they are of the dataset that trained the model, else None."""
    try:
        check_fits(model, test)
        check_images(model, test)
    except DataError:
        return None
    return test
