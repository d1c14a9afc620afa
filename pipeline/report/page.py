"""The report: one HTML page that holds all it shows, and the same bytes for the same content."""

import base64
import io
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import vl_convert
from numpy.typing import NDArray
from PIL import Image

from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH
from pipeline.datasets.tables import ExampleSet
from pipeline.errors import DataError
from pipeline.params import Settings, VariantSettings
from pipeline.report import charts

SAMPLES = 8
"""Images shown of each class and split."""
"""Colours kept of a figure: as good to look at, and a third of the size."""

UNITS = {"cross_entropy": "nats", "mean_squared_error": "MSE"}
LOSSES = {"cross_entropy": "cross-entropy (nats)", "mean_squared_error": "mean squared error"}
NAMES = {
    "hidden": "neurons in hidden layers",
    "lr": "learning rate",
    "l2": "L2 regularisation",
    "train_limit": "training images at most",
    "test_sample": "first test images reported",
}
"""Readable names of settings whose key is not one."""

# Name of the file: caption, what can be seen.
FIGURES = {
    "One image through the network": {
        "architecture": (
            "The network, layer by layer.",
            "columns of neurons from the input to the output, with each layer's size and "
            "parameters",
        ),
        "forward": (
            "Forward: what each layer makes of a test image.",
            "the image, each layer's weights and values, and a probability for each class",
        ),
        "backward": (
            "Backward: the gradients of the cost for the same image.",
            "the prediction beside the truth, and the gradients of each layer as heat maps",
        ),
        "update": (
            "Update: one step of gradient descent for that image.",
            "each layer's weights before the step, after it, and their difference",
        ),
    },
    "What it says of test images": {
        "predictions": (
            "Random test images. What was read wrongly is red, with the true class.",
            "test images in rows, each with the predicted class and its probability",
        ),
        "mistakes": (
            "The mistakes it was most confident of.",
            "misread test images, each with the predicted and the true class",
        ),
        "row": (
            "More random test images.",
            "a single row of test images, each with the predicted class and its probability",
        ),
    },
    "How good it is": {
        "confusion": (
            "True against predicted classes.",
            "the confusion matrix as a heat map with counts",
        ),
        "quality": (
            "Precision and recall of each class.",
            "for each class a line from its precision to its recall",
        ),
        "calibration": (
            "Is it right as often as it is confident? On the diagonal, yes.",
            "accuracy against confidence, and the number of images at each confidence",
        ),
    },
    "How it learned": {
        "curves": (
            "Cost and accuracy after each epoch.",
            "training and validation curves of cost and accuracy",
        ),
        "norms": (
            "How large each layer's weights and gradients are after each epoch.",
            "curves of the norms of each layer's weights and gradients",
        ),
    },
}


@dataclass(frozen=True)
class Picture:
    """An image as a data URI, with its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class Variant:
    """One network: how it was trained and what came of it.

    settings: with overrides applied; metrics: its part of metrics/summary.json; predictions:
    columns label and prediction, class names as text; figures: PNG files by name; versions: of the
    packages that trained it.
    """

    settings: VariantSettings
    metrics: Mapping[str, Any]
    predictions: pd.DataFrame
    figures: Mapping[str, bytes]
    versions: Mapping[str, str]


@dataclass(frozen=True)
class ReportContent:
    """All that a report shows.

    splits: train, validation and test; history: columns variant, split, epoch, cost, accuracy.
    """

    settings: Settings
    splits: Mapping[str, ExampleSet]
    history: pd.DataFrame
    variants: Mapping[str, Variant]


_HERE = Path(__file__).parent


def report_page(content: ReportContent) -> str:
    """Write the report as one HTML page that needs no other file and no network.

    Raises DataError for a figure that is not a picture.
    """
    examples = content.splits["train"]
    return (
        _environment()
        .get_template("index.html.j2")
        .render(
            content=content,
            settings=content.settings,
            description=examples.description,
            normalization=examples.normalization,
            sources=_distinct(part.description.source for part in content.splits.values()),
            versions=_versions(content),
            best={column.key: _best(content.variants, column) for column in COLUMNS},
            layers={name: _layers(content, variant) for name, variant in content.variants.items()},
            sampled=any("test_sample_accuracy" in v.metrics for v in content.variants.values()),
            rivals=_rivals(content.variants),
            counts=_counts(content.splits),
            samples={split: _samples(part) for split, part in content.splits.items()},
            figures={name: _figures(name, variant) for name, variant in content.variants.items()},
            charts={
                "specs": _specs(content),
                "history": charts.history_rows(content.history),
            },
            vega=_vega(),
            css=(_HERE / "index.css").read_text(encoding="utf-8"),
        )
    )


@dataclass(frozen=True)
class Column:
    """A metric whose best value is marked, among the variants for which `kind` is the same."""

    key: str
    higher_is_better: bool = True
    kind: Callable[[Variant], Hashable] = lambda _: None


COLUMNS = (
    Column("train_accuracy"),
    Column("validation_accuracy"),
    Column("test_accuracy"),
    Column("test_loss", higher_is_better=False, kind=lambda variant: variant.settings.loss),
    Column("test_precision"),
    Column("test_recall"),
    Column("test_f1"),
    Column("test_sample_accuracy", kind=lambda variant: variant.metrics["test_sample_images"]),
)


def _best(variants: Mapping[str, Variant], column: Column) -> list[str]:
    """Name the variants with the best value of a column; one without a rival is not the best."""
    groups: dict[Hashable, dict[str, float]] = {}
    for name, variant in variants.items():
        if column.key in variant.metrics:
            groups.setdefault(column.kind(variant), {})[name] = variant.metrics[column.key]
    best = max if column.higher_is_better else min
    return [
        name
        for values in groups.values()
        if len(values) > 1
        for name, value in values.items()
        if value == best(values.values())
    ]


def _rivals(variants: Mapping[str, Variant]) -> dict[str, list[str]]:
    """Name, by loss, the variants whose costs can be compared: two or more with the same loss."""
    groups: dict[str, list[str]] = {}
    for name, variant in variants.items():
        groups.setdefault(variant.settings.loss, []).append(name)
    return {loss: names for loss, names in groups.items() if len(names) > 1}


def _layers(content: ReportContent, variant: Variant) -> str:
    classes = content.splits["train"].description.class_names
    return "-".join(map(str, (PIXELS, *variant.settings.hidden, len(classes))))


def _versions(content: ReportContent) -> dict[str, list[str]]:
    """Give the versions of each package; more than one if variants were trained at other times."""
    packages = _distinct(name for variant in content.variants.values() for name in variant.versions)
    return {
        package: _distinct(
            variant.versions[package]
            for variant in content.variants.values()
            if package in variant.versions
        )
        for package in packages
    }


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _specs(content: ReportContent) -> dict[str, charts.Spec]:
    """Give every chart's specification by the id of its place in the page."""
    classes = content.splits["train"].description.class_names
    every = list(content.variants)
    specs = {
        "accuracies": charts.accuracies_chart(
            {name: variant.metrics for name, variant in content.variants.items()}
        ),
        "together-accuracy": charts.together_chart(every, every, "accuracy", "accuracy"),
        "counts": charts.counts_chart(_counts(content.splits), classes),
    }
    for loss, names in _rivals(content.variants).items():
        unit = LOSSES[loss]
        specs[f"together-{loss}"] = charts.together_chart(every, names, "cost", unit)
    for name, variant in content.variants.items():
        unit = LOSSES[variant.settings.loss]
        specs[f"accuracy-{name}"] = charts.variant_chart(name, "accuracy", "accuracy")
        specs[f"cost-{name}"] = charts.variant_chart(name, "cost", unit)
        specs[f"confusion-{name}"] = charts.confusion_chart(name, variant.predictions, classes)
    return specs


def _counts(splits: Mapping[str, ExampleSet]) -> dict[str, list[int]]:
    return {
        split: np.bincount(
            examples.labels, minlength=len(examples.description.class_names)
        ).tolist()
        for split, examples in splits.items()
    }


def _samples(examples: ExampleSet) -> list[Picture]:
    """Draw the first SAMPLES images of each class side by side."""
    classes = range(len(examples.description.class_names))
    samples: list[list[NDArray[np.float32]]] = [[] for _ in classes]
    wanted = np.minimum(np.bincount(examples.labels, minlength=len(classes)), SAMPLES)
    for block in examples.blocks():
        for label in classes:
            rows = np.flatnonzero(block.labels == label)[: SAMPLES - len(samples[label])]
            samples[label] += list(block.inputs[rows])
        if all(len(samples[label]) >= wanted[label] for label in classes):
            break
    pictures = []
    for inputs in samples:
        brightness = examples.normalization.undo(np.reshape(inputs, (-1, PIXELS)))
        images = (brightness * 255).round().clip(0, 255).astype(np.uint8)
        pictures.append(_strip(images.reshape(-1, HEIGHT, WIDTH)))
    return pictures


def _strip(images: NDArray[np.uint8]) -> Picture:
    """Put images `(N, 28, 28)` into one row, two clear pixels between them."""
    width = max(1, len(images) * (WIDTH + 2) - 2)
    grey_and_opacity = np.zeros((HEIGHT, width, 2), np.uint8)
    for place, image in enumerate(images):
        left = place * (WIDTH + 2)
        grey_and_opacity[:, left : left + WIDTH, 0] = image
        grey_and_opacity[:, left : left + WIDTH, 1] = 255
    return _picture(Image.fromarray(grey_and_opacity, "LA"))


def _figures(name: str, variant: Variant) -> dict[str, list[tuple[str, str, Picture]]]:
    """Give (caption, what can be seen, picture) of each figure, in groups and in reading order."""
    known = {file for group in FIGURES.values() for file in group}
    others = {
        file: (file.replace("_", " ").capitalize(), file.replace("_", " "))
        for file in sorted(variant.figures)
        if file not in known
    }
    pictures = {file: _embedded(file, png) for file, png in variant.figures.items()}
    groups = {
        title: [
            (caption, f"{name}: {seen}", pictures[file])
            for file, (caption, seen) in group.items()
            if file in pictures
        ]
        for title, group in (FIGURES | {"Other figures": others}).items()
    }
    return {title: figures for title, figures in groups.items() if figures}


def _embedded(name: str, png: bytes) -> Picture:
    try:
        with Image.open(io.BytesIO(png)) as image:
            width, height = image.size
    except OSError as error:
        raise DataError(f"the figure {name} is not a picture: {error}") from error
    data = base64.b64encode(png).decode()
    return Picture(f"data:image/png;base64,{data}", width, height)


def _picture(image: Image.Image) -> Picture:
    content = io.BytesIO()
    image.save(content, "PNG")
    return _embedded("of samples", content.getvalue())


@cache
def _vega() -> str:
    """Give Vega, Vega-Lite and vega-embed as one script, which holds no tag."""
    script: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # it has a default
    return script


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Compact, and in the order that Python gives: the same bytes every time.
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    environment.filters["percent"] = lambda share: f"{100 * share:.2f}"
    environment.filters["count"] = lambda number: f"{number:,}"
    environment.filters["number"] = lambda number: f"{number:.4g}"
    environment.filters["setting"] = _setting
    environment.filters["name"] = lambda key: NAMES.get(key, key.replace("_", " "))
    environment.globals.update(
        UNITS=UNITS,
        LOSSES=LOSSES,
        SPLITS=charts.SPLITS,
        SAMPLES=SAMPLES,
    )
    return environment


def _setting(value: Any) -> str:
    """Write a setting's value as a reader would."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, str):
        return value.replace("_", " ")
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
