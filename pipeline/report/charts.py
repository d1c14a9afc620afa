"""The interactive charts of the report, as Vega-Lite specifications.

Colours are CSS variables of the page, so a chart follows its light, dark and print styles. Curves
share the dataset `history` of the page; the other charts contain their own rows.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from pipeline.base import colours
from pipeline.base.tables import Table

Spec = dict[str, Any]
Measure = Literal["accuracy", "cost"]

POINTS = 300
"""Maximum number of epochs shown per curve."""
SERIES = tuple(f"var(--series-{number})" for number in range(1, len(colours.SERIES) + 1))
SHAPES = (
    "circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right",
    "triangle-left",
)  # fmt: skip
SPLITS = {"train": "training", "validation": "validation", "test": "test"}

_MUTED, _INK, _LINE = "var(--muted)", "var(--ink)", "var(--line)"
_BASE: Spec = {
    "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
    "width": "container",
    "autosize": {"type": "fit-x", "contains": "padding"},
    "config": {
        "background": "transparent",
        "font": "system-ui, sans-serif",
        "customFormatTypes": True,
        "view": {"stroke": None},
        "axis": {
            "labelColor": _MUTED,
            "titleColor": _INK,
            "gridColor": _LINE,
            "domainColor": _LINE,
            "tickColor": _LINE,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 8,
        },
        "legend": {
            "orient": "top",
            "title": None,
            "columns": {"expr": "width < 480 ? 2 : 6"},
            "labelColor": _INK,
            "labelFontSize": 12,
            "symbolSize": 90,
        },
    },
}


def history_rows(history: Table) -> list[Spec]:
    """Return one row per variant and epoch, with the cost and accuracy of both splits.

    Long curves are thinned. history: a table with columns variant, split, epoch, cost
    and accuracy.
    """
    rows: list[Spec] = []
    for variant in dict.fromkeys(history["variant"].tolist()):
        curves: dict[str, list[Any]] = {}
        for split in ("train", "validation"):
            part = (history["variant"] == variant) & (history["split"] == split)
            curves["epoch"] = history["epoch"][part].tolist()
            for measure in ("cost", "accuracy"):
                curves[f"{split}_{measure}"] = history[measure][part].tolist()
        rows += (
            {"variant": variant} | {name: values[row] for name, values in curves.items()}
            for row in kept_epochs(len(curves["epoch"]))
        )
    return rows


def kept_epochs(count: int) -> list[int]:
    """Return at most POINTS of `count` indices, spread over linear and logarithmic axes alike.

    The first and the last index are always included.
    """
    if count <= POINTS:
        return list(range(count))
    half = POINTS // 2
    places = np.concatenate([np.linspace(0, count - 1, half), np.geomspace(1, count, half) - 1])
    return [int(place) for place in np.unique(places.round())]


def accuracies_chart(metrics: Mapping[str, Mapping[str, Any]]) -> Spec:
    """Return a chart of the test accuracy of each variant, with its 95 % interval."""
    rows = [
        {
            "variant": name,
            "accuracy": values["test_accuracy"],
            "low": values["test_accuracy_low"],
            "high": values["test_accuracy_high"],
        }
        for name, values in metrics.items()
    ]
    x = {"type": "quantitative", "scale": {"zero": False}}
    axis = {"format": "%", "title": "accuracy", "tickCount": 8}
    tooltip = [
        {"field": "variant", "title": "variant"},
        *({"field": key, "format": ".2%"} for key in ("accuracy", "low", "high")),
    ]
    return _BASE | {
        "description": "Test accuracy of each variant with its 95 % interval.",
        "data": {"values": rows},
        "height": 30 * len(rows),
        "encoding": {
            "y": {
                "field": "variant",
                "type": "nominal",
                "sort": None,
                "axis": {"title": None, "labelColor": _INK, "ticks": False, "domain": False},
            },
            "tooltip": tooltip,
        },
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 3, "color": SERIES[0], "opacity": 0.5},
                "encoding": {"x": {"field": "low"} | x | {"axis": axis}, "x2": {"field": "high"}},
            },
            {
                "mark": {
                    "type": "point",
                    "filled": True,
                    "size": 90,
                    "color": SERIES[0],
                    "opacity": 1,
                },
                "encoding": {"x": {"field": "accuracy"} | x},
            },
        ],
    }


def together_chart(
    variants: Sequence[str], shown: Sequence[str], measure: Measure, unit: str
) -> Spec:
    """Return a chart of the curves of the `shown` variants, training or validation.

    variants: all variants, so that each has the same colour and shape in every chart; unit: the
    title of the y-axis. Epochs and costs have logarithmic axes.
    """
    places = [list(variants).index(name) for name in shown]
    colours = [SERIES[place % len(SERIES)] for place in places]
    shapes = [SHAPES[place % len(SHAPES)] for place in places]
    value = {
        "field": "value",
        "type": "quantitative",
        "title": unit,
        "scale": {"domain": [0, 1]} if measure == "accuracy" else {"type": "log", "nice": False},
        "axis": {"format": _ticks(measure), "tickCount": 5},
    }
    colour = {"field": "variant", "type": "nominal", "sort": None}
    chosen = {"condition": {"param": "chosen", "value": 1}, "value": 0.12}
    return _BASE | {
        "description": f"{measure.capitalize()} of {', '.join(shown)} after each epoch.",
        "data": {"name": "history"},
        "params": [
            {
                "name": "shown",
                "value": "validation",
                "bind": {"input": "radio", "options": ["validation", "training"], "name": "Show"},
            }
        ],
        "transform": [
            {"filter": {"field": "variant", "oneOf": list(shown)}},
            {
                "calculate": f"shown == 'training' ? datum.train_{measure} "
                f": datum.validation_{measure}",
                "as": "value",
            },
            *([{"filter": {"field": "value", "gt": 0}}] if measure == "cost" else []),
            {
                "joinaggregate": [{"op": "max", "field": "epoch", "as": "last_epoch"}],
                "groupby": ["variant"],
            },
        ],
        "height": 340,
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "scale": {"type": "log", "nice": False},
                "axis": {"title": "epoch (logarithmic)", "format": "d", "tickCount": 6},
            },
            "y": value,
            "color": colour | {"scale": {"domain": list(shown), "range": colours}},
        },
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 2},
                "params": [
                    {
                        "name": "chosen",
                        "select": {"type": "point", "fields": ["variant"]},
                        "bind": "legend",
                    }
                ],
                "encoding": {"opacity": chosen},
            },
            {
                "transform": [{"filter": "datum.epoch == datum.last_epoch"}],
                "mark": {"type": "point", "filled": True, "size": 90},
                "encoding": {
                    "shape": colour | {"scale": {"domain": list(shown), "range": shapes}},
                    "opacity": chosen,
                },
            },
            _hover(measure, unit, ["x", "y"]),
        ],
    }


def variant_chart(variant: str, measure: Measure, unit: str) -> Spec:
    """Return a chart of the training and validation curves of one variant.

    It has no legend; the page has one for all of these charts.
    """
    splits = [f"train_{measure}", f"validation_{measure}"]
    return _BASE | {
        "description": f"{measure.capitalize()} of {variant} after each epoch.",
        "data": {"name": "history"},
        "transform": [
            {"filter": {"field": "variant", "equal": variant}},
            {"fold": splits, "as": ["split", "value"]},
        ],
        "height": 190,
        "encoding": {
            "x": {
                "field": "epoch",
                "type": "quantitative",
                "scale": {"nice": False},
                "axis": {
                    "title": "epoch",
                    "format": "d",
                    "tickCount": 5,
                    "tickMinStep": 1,
                    "grid": False,
                },
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": unit,
                "scale": {"domain": [0, 1]} if measure == "accuracy" else {},
                "axis": {"format": _ticks(measure), "tickCount": 4},
            },
            "color": {
                "field": "split",
                "type": "nominal",
                "scale": {"domain": splits, "range": ["var(--training)", "var(--validation)"]},
                "legend": None,
            },
        },
        "layer": [
            {
                "mark": {"type": "line", "strokeWidth": 2},
                "encoding": {
                    "strokeDash": {
                        "field": "split",
                        "type": "nominal",
                        "scale": {"domain": splits, "range": [[5, 3], [1, 0]]},
                        "legend": None,
                    }
                },
            },
            _hover(measure, unit, ["x"]),
        ],
    }


def counts_chart(counts: Mapping[str, Sequence[int]], class_names: Sequence[str]) -> Spec:
    """Return a chart of the number of images per class.

    counts: one number per class, by split.
    """
    splits = [SPLITS[split] for split in counts]
    rows = [
        {"class": name, "split": SPLITS[split], "images": number}
        for split, numbers in counts.items()
        for name, number in zip(class_names, numbers, strict=True)
    ]
    return _BASE | {
        "description": "Number of images of each class in each split.",
        "data": {"values": rows},
        "height": 260,
        "mark": {"type": "bar", "cornerRadiusEnd": 2},
        "encoding": {
            "x": {
                "field": "class",
                "type": "nominal",
                "sort": None,
                "axis": {"title": "class", "labelAngle": -40 if _long(class_names) else 0},
            },
            "xOffset": {"field": "split", "sort": splits},
            "y": {"field": "images", "type": "quantitative", "axis": {"tickCount": 5}},
            "color": {
                "field": "split",
                "type": "nominal",
                "scale": {
                    "domain": splits,
                    "range": ["var(--training)", "var(--validation)", "var(--test)"],
                },
            },
            "tooltip": [
                {"field": "class"},
                {"field": "split"},
                {"field": "images", "format": ","},
            ],
        },
    }


def confusion_chart(variant: str, predictions: Table, class_names: Sequence[str]) -> Spec:
    """Return the confusion matrix of the test images as a chart.

    predictions: a table with columns label and prediction. The shade follows the square root of
    the count, so that a few mistakes are visible next to many correct predictions.
    """
    pairs = Counter(zip(predictions["label"], predictions["prediction"], strict=True))
    rows = [
        {"true": true, "predicted": predicted, "images": number}
        for (true, predicted), number in sorted(pairs.items())
    ]
    names = list(class_names)
    angle = -40 if _long(class_names) else 0
    band = {"type": "nominal", "sort": names, "scale": {"domain": names, "padding": 0}}
    dark = f"datum.images > {0.7 * max(pairs.values()):g}"
    return _BASE | {
        "description": f"Confusion matrix of {variant}: true class against predicted class.",
        "data": {"values": rows},
        # Pairs that never occur are cells too, so that their tooltip shows a count of 0.
        "transform": [
            {
                "impute": "images",
                "key": "predicted",
                "keyvals": names,
                "groupby": ["true"],
                "value": 0,
            },
            {
                "joinaggregate": [{"op": "sum", "field": "images", "as": "total"}],
                "groupby": ["true"],
            },
            {"calculate": "datum.images / datum.total", "as": "share"},
        ],
        "height": 360,
        "encoding": {
            "x": {"field": "predicted"}
            | band
            | {"axis": {"title": "predicted class", "labelAngle": angle, "ticks": False}},
            "y": {"field": "true"} | band | {"axis": {"title": "true class", "ticks": False}},
            "tooltip": [
                {"field": "true", "title": "true class"},
                {"field": "predicted", "title": "predicted class"},
                {"field": "images", "title": "images", "format": ","},
                {"field": "share", "title": "share of true class", "format": ".1%"},
            ],
        },
        "layer": [
            {
                "mark": {"type": "rect", "stroke": _LINE, "strokeWidth": 1},
                "encoding": {
                    "color": {
                        "condition": {
                            "test": "datum.true == datum.predicted",
                            "value": "var(--right)",
                        },
                        "value": "var(--wrong)",
                    },
                    "fillOpacity": {
                        "field": "images",
                        "type": "quantitative",
                        "scale": {"type": "sqrt", "range": [0, 1]},
                        "legend": None,
                    },
                },
            },
            {
                "transform": [{"filter": "datum.images > 0"}],
                "mark": {"type": "text", "fontSize": 11, "aria": False},
                "encoding": {
                    "text": {"field": "images", "format": ","},
                    "color": {"condition": {"test": dark, "value": "white"}, "value": _INK},
                },
            },
        ],
    }


def _hover(measure: Measure, unit: str, encodings: list[str]) -> Spec:
    """Return a layer that shows the values of the point nearest to the pointer."""
    number = {"type": "quantitative", "format": ".2%" if measure == "accuracy" else ".4~g"}
    return {
        "mark": {"type": "point", "filled": True, "size": 80, "aria": False},
        "params": [
            {
                "name": "hover",
                "select": {
                    "type": "point",
                    "on": "pointermove",
                    "clear": "pointerout",
                    "nearest": True,
                    "encodings": encodings,
                },
            }
        ],
        "encoding": {
            "opacity": {"condition": {"param": "hover", "empty": False, "value": 1}, "value": 0},
            "tooltip": [
                # Format the text with a function: with `nearest`, Vega-Lite 6 looks up plain text
                # in the wrong place and shows "undefined".
                {"field": "variant", "type": "nominal", "formatType": "toString", "format": "s"},
                {"field": "epoch", "type": "quantitative", "format": ","},
                number | {"field": f"train_{measure}", "title": f"training {unit}"},
                number | {"field": f"validation_{measure}", "title": f"validation {unit}"},
            ],
        },
    }


def _ticks(measure: Measure) -> str:
    return "%" if measure == "accuracy" else ".2~g"


def _long(names: Sequence[str]) -> bool:
    return max(map(len, names)) > 3
