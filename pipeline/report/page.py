"""The report as one self-contained HTML page; the same content gives the same bytes."""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from numpy.typing import NDArray

from pipeline.base.colours import SERIES, SERIES_DARK
from pipeline.base.params import Settings, VariantSettings
from pipeline.base.tables import Table
from pipeline.datasets.examples import ExampleSet
from pipeline.datasets.images import HEIGHT, PIXELS, WIDTH
from pipeline.nn.network import DIVIDED
from pipeline.nn.snapshot_file import Moments
from pipeline.report import charts
from pipeline.report.answer import answer_of, ranking_of
from pipeline.report.learning import (
    LETTERS,
    SHADES,
    check_moments,
    followed_images,
    kept_pictures,
    learning_data,
)
from pipeline.report.pictures import Picture, embedded_picture, strip_picture
from pipeline.report.templates import environment
from pipeline.report.vega import vega_script

SAMPLES = 8
"""Images shown per class and split."""
HIGHLIGHTED = 8
"""Curves that stand out where there are more variants."""
TRIALS = 8
"""Best trials of a sweep in its table."""
CHANCE = 0.05
"""The p-value from which a difference may well be chance."""
CHARTS = ("confusion", "curves")
"""Figures that the page leaves out, because it has interactive charts of the same."""

UNITS = {"cross_entropy": "nats", "mean_squared_error": "MSE"}
LOSSES = {"cross_entropy": "cross-entropy (nats)", "mean_squared_error": "mean squared error"}
NAMES = {
    "hidden": "neurons in hidden layers",
    "lr": "learning rate",
    "l2": "L2 regularisation",
    "train_limit": "maximum number of training images",
    "test_sample": "first test images scored separately",
    "test_shifts": "shifts of test images averaged over",
    "epochs_for": "images that epochs is for",
    "beta1": "beta 1",
    "beta2": "beta 2",
    "keep": "epoch kept",
    "drop": "factor of a drop",
    "drops": "drops of the learning rate",
}
"""Labels of settings whose key does not explain itself."""

# File name: caption and alternative text.
FIGURES = {
    "What it predicts": {
        "mistakes": (
            "The wrong predictions with the highest confidence.",
            "misclassified test images, each with the predicted and the true class",
        ),
        "predictions": (
            "Random test images. Wrong predictions are red, with the true class.",
            "rows of test images, each with the predicted class and its probability",
        ),
    },
    "One image through the network": {
        "forward": (
            "Forward pass. Each row is a layer: on the left its values, on the right which pixels "
            "raise (red) or lower (blue) its most active neurons, slightly blurred.",
            "the image, the probability of each class, and what neurons of each layer respond to",
        ),
        "backward": (
            "Backward pass: the gradients of the cost for the same image, from the last layer to "
            "the first.",
            "the prediction and the true class, and the gradients of each layer",
        ),
        "update": (
            "One step of the optimiser on this image: the answer before and after, and weights "
            "beside their change, which has a scale of its own.",
            "the probabilities before and after the step, and the weights of each layer with their "
            "change",
        ),
    },
    "How training distorts images": {
        "distortions": (
            "A digit and sixteen distorted versions of it. Training uses a new version of each "
            "image in every epoch.",
            "a test image on the left, and sixteen distorted versions of it",
        ),
    },
    "How far its confidence can be trusted": {
        "calibration": (
            "Accuracy of the images of each level of confidence, with 95 % intervals. On the "
            "diagonal the two are equal.",
            "accuracy against confidence, and the number of images at each level of confidence",
        ),
        "quality": (
            "Precision and recall of each class.",
            "one line per class, from its precision to its recall",
        ),
    },
    "What it is made of, and how it changed": {
        "architecture": (
            "The network, layer by layer. Of large layers, the neurons with the largest weights.",
            "columns of neurons from input to output, with the size and parameters of each layer",
        ),
        "norms": (
            "Norms of the weights and of the gradients of each layer after each epoch.",
            "curves of the norms of the weights and gradients of each layer",
        ),
    },
}


@dataclass(frozen=True)
class Variant:
    """The settings and results of one network.

    settings: with overrides applied; metrics: the network's entry in metrics/summary.json;
    predictions: a table of the test images in order, with class names in columns label and
    prediction, and a column confidence; figures: PNG files by name; versions: versions of the
    packages that trained the network; moments: of its training.
    """

    settings: VariantSettings
    metrics: Mapping[str, Any]
    predictions: Table
    figures: Mapping[str, bytes]
    versions: Mapping[str, str]
    moments: Moments


@dataclass(frozen=True)
class ReportContent:
    """Everything that a report shows.

    splits: train, validation and test; history: a table with columns variant, split, epoch, cost
    and accuracy; digests: the SHA-256 of the files of each split; studies: what sweeps and repeats
    have left for this dataset.
    """

    settings: Settings
    splits: Mapping[str, ExampleSet]
    history: Table
    variants: Mapping[str, Variant]
    digests: Mapping[str, str]
    studies: "Studies"


@dataclass(frozen=True)
class Studies:
    """What sweeps and repeats have left, as in their JSON files; each may be empty."""

    repeats: Sequence[Mapping[str, Any]] = ()
    pairs: Sequence[Mapping[str, Any]] = ()
    folds: Sequence[Mapping[str, Any]] = ()
    sweeps: Sequence[Mapping[str, Any]] = ()


_HERE = Path(__file__).parent


def report_page(content: ReportContent) -> str:
    """Return the report as one HTML page that needs no other file and no network access.

    Raises DataError if a figure is not a valid image, or if snapshots are of other images.
    """
    examples = content.splits["train"]
    accuracies = _accuracies(content.variants)
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
            answer=answer_of(
                accuracies,
                {name: variant.predictions for name, variant in content.variants.items()},
                content.splits["test"],
            ),
            learning=_learning(content, ranking_of(accuracies)[0]),
            chance=CHANCE,
            divided=DIVIDED,
            best_trials=[_best_trials(study) for study in content.studies.sweeps],
            charts={
                "specs": _specs(content),
                "history": charts.history_rows(content.history),
            },
            vega=vega_script(),
            series=SERIES,
            series_dark=SERIES_DARK,
            css="\n".join(
                (_HERE / f"{name}.css").read_text(encoding="utf-8")
                for name in ("index", "learning")
            ),
            learning_script=(_HERE / "learning.js").read_text(encoding="utf-8"),
        )
    )


@dataclass(frozen=True)
class Column:
    """A metric whose best value is marked. Only variants with the same `kind` are compared."""

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


def _best_trials(study: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the completed trials of a sweep with the highest validation accuracies."""
    ended = [trial for trial in study["trials"] if trial["state"] == "complete"]
    ended.sort(key=lambda trial: -trial["validation_accuracy"])
    return ended[:TRIALS]


def _best(variants: Mapping[str, Variant], column: Column) -> list[str]:
    """Return the variants with the best value of a column, among two or more that compare."""
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
    """Return the variants by loss, for each loss that at least two variants share."""
    groups: dict[str, list[str]] = {}
    for name, variant in variants.items():
        groups.setdefault(variant.settings.loss, []).append(name)
    return {loss: names for loss, names in groups.items() if len(names) > 1}


def _layers(content: ReportContent, variant: Variant) -> str:
    classes = content.splits["train"].description.class_names
    return "-".join(map(str, (PIXELS, *variant.settings.hidden, len(classes))))


def _versions(content: ReportContent) -> dict[str, list[str]]:
    """Return the versions of each package; several if they changed between trainings."""
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
    """Return the specification of each chart, by the id of its element in the page."""
    classes = content.splits["train"].description.class_names
    every = list(content.variants)
    ranking = ranking_of(_accuracies(content.variants))
    highlighted = ranking[:HIGHLIGHTED] if len(every) > HIGHLIGHTED else []
    specs = {
        "accuracies": charts.accuracies_chart(
            {name: variant.metrics for name, variant in content.variants.items()}
        ),
        "together-accuracy": charts.together_chart(
            every, every, highlighted, "accuracy", "accuracy"
        ),
        "counts": charts.counts_chart(_counts(content.splits), classes),
    }
    for loss, names in _rivals(content.variants).items():
        unit = LOSSES[loss]
        chosen = [name for name in highlighted if name in names]
        specs[f"together-{loss}"] = charts.together_chart(every, names, chosen, "cost", unit)
    for name, variant in content.variants.items():
        unit = LOSSES[variant.settings.loss]
        specs[f"accuracy-{name}"] = charts.variant_chart(name, "accuracy", "accuracy")
        specs[f"cost-{name}"] = charts.variant_chart(name, "cost", unit)
        specs[f"confusion-{name}"] = charts.confusion_chart(name, variant.predictions, classes)
    studies = content.studies
    if studies.repeats:
        specs["repeats"] = charts.repeats_chart(studies.repeats)
    if studies.pairs:
        specs["pairs"] = charts.pairs_chart(studies.pairs)
    for number, study in enumerate(studies.sweeps):
        specs[f"sweep-{number}"] = charts.sweep_chart(study)
    return specs


def _learning(content: ReportContent, first: str) -> dict[str, Any]:
    """Return what the section of moments shows: the epoch kept of one network, and all data."""
    classes = content.splits["validation"].description.class_names
    moments = {name: variant.moments for name, variant in content.variants.items()}
    check_moments(moments, classes)
    of = moments[first]
    filters, activations = kept_pictures(of)
    probabilities = of.probabilities[of.last]
    images = int(of.confusion[of.last].sum())
    return {
        "epoch": int(of.kept),
        "accuracy": float(of.accuracies[of.last]),
        "images": images,
        "followed": followed_images(of, classes),
        "predictions": [
            (classes[row.argmax()], round(100 * float(row.max()))) for row in probabilities
        ],
        "confusion": of.confusion[of.last].tolist(),
        "filters": filters,
        "activations": activations,
        "data": {
            "letters": LETTERS.tobytes().decode("ascii"),
            "shades": SHADES,
            "images": images,
            "labels": of.labels.tolist(),
            "classNames": classes,
            "variants": {
                name: learning_data(each, _costs(content.history, name))
                for name, each in moments.items()
            },
        },
    }


def _costs(history: Table, variant: str) -> dict[int, float]:
    """Return the validation cost of a variant after each epoch."""
    rows = (history["variant"] == variant) & (history["split"] == "validation")
    return dict(zip(history["epoch"][rows].tolist(), history["cost"][rows].tolist(), strict=True))


def _accuracies(variants: Mapping[str, Variant]) -> dict[str, float]:
    return {name: variant.metrics["validation_accuracy"] for name, variant in variants.items()}


def _counts(splits: Mapping[str, ExampleSet]) -> dict[str, list[int]]:
    return {
        split: np.bincount(
            examples.labels, minlength=len(examples.description.class_names)
        ).tolist()
        for split, examples in splits.items()
    }


def _samples(examples: ExampleSet) -> list[Picture]:
    """Return one picture per class, with its first SAMPLES images side by side."""
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
        pictures.append(strip_picture(images.reshape(-1, HEIGHT, WIDTH)))
    return pictures


def _figures(name: str, variant: Variant) -> dict[str, list[tuple[str, str, Picture]]]:
    """Return (caption, alternative text, picture) of each figure, by group and in reading order."""
    known = {file for group in FIGURES.values() for file in group}
    others = {
        file: (file.replace("_", " ").capitalize(), file.replace("_", " "))
        for file in sorted(variant.figures)
        if file not in known and file not in CHARTS
    }
    pictures = {
        file: embedded_picture(file, png)
        for file, png in variant.figures.items()
        if file not in CHARTS
    }
    groups = {
        title: [
            (caption, f"{name}: {seen}", pictures[file])
            for file, (caption, seen) in group.items()
            if file in pictures
        ]
        for title, group in (FIGURES | {"Other figures": others}).items()
    }
    return {title: figures for title, figures in groups.items() if figures}


@cache
def _environment() -> jinja2.Environment:
    pages = environment(_HERE)
    pages.filters["percent"] = lambda share: f"{100 * share:.2f}"
    pages.filters["count"] = lambda number: f"{number:,}"
    pages.filters["number"] = lambda number: f"{number:.4g}"
    pages.filters["setting"] = _setting
    pages.filters["name"] = lambda key: NAMES.get(key, key.replace("_", " "))
    pages.globals.update(
        UNITS=UNITS,
        LOSSES=LOSSES,
        SPLITS=charts.SPLITS,
        SAMPLES=SAMPLES,
    )
    return pages


def _setting(value: Any) -> str:
    """Return the value of a setting as text for the page; a float with up to ten digits."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {_setting(part)}" for key, part in value.items())
    if isinstance(value, str):
        return value.replace("_", " ")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.10g}"
