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
SPREAD = 4
"""An axis of accuracies ends at this many times the median's distance from the best."""
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
    """Return a chart of the test accuracy of each variant, the best first, with 95 % intervals."""
    ranked = sorted(metrics.items(), key=lambda item: -item[1]["test_accuracy"])
    rows = [
        {
            "variant": name,
            "accuracy": values["test_accuracy"],
            "low": values["test_accuracy_low"],
            "high": values["test_accuracy_high"],
        }
        for name, values in ranked
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
    variants: Sequence[str],
    shown: Sequence[str],
    highlighted: Sequence[str],
    measure: Measure,
    unit: str,
) -> Spec:
    """Return a chart of the curves of the `shown` variants, training or validation.

    highlighted: the variants that stand out until others are chosen; none if all of them do.
    variants: all variants, so that each has the same colour and shape in every chart; unit: the
    title of the y-axis. Epochs and costs have logarithmic axes.
    """
    places = [list(variants).index(name) for name in shown]
    pairs = [colours.place(place) for place in places]
    range_ = [SERIES[colour] for colour, _ in pairs]
    dashes = [list(colours.DASHES[dash]) or [1, 0] for _, dash in pairs]
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
            "color": colour | {"scale": {"domain": list(shown), "range": range_}},
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
                    | (
                        {"value": [{"variant": name} for name in highlighted]}
                        if highlighted
                        else {}
                    )
                ],
                "encoding": {
                    "opacity": chosen,
                    "strokeDash": colour
                    | {"legend": None, "scale": {"domain": list(shown), "range": dashes}},
                },
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


def repeats_chart(repeats: Sequence[Mapping[str, Any]]) -> Spec:
    """Return a chart of the validation accuracies of repeats: every seed, mean and interval."""
    rows = [
        {"variant": found["variant"], "seed": seed, "accuracy": accuracy}
        for found in repeats
        for seed, accuracy in found["validation_accuracy"].items()
    ]
    means = [{key: found[key] for key in ("variant", "mean", "low", "high")} for found in repeats]
    names = [found["variant"] for found in repeats]
    return _intervals_chart(
        "Validation accuracy of each variant with several seeds, mean and 95 % interval.",
        rows, means, "variant", names, "accuracy", "validation accuracy", "%", ".2%",
    )  # fmt: skip


def pairs_chart(pairs: Sequence[Mapping[str, Any]]) -> Spec:
    """Return a chart of the differences of paired variants: every seed, mean and interval."""
    names = [" minus ".join(found["variants"]) for found in pairs]
    rows = [
        {"pair": name, "seed": seed, "difference": 100 * (first - second)}
        for name, found in zip(names, pairs, strict=True)
        for seed, (first, second) in found["pairs"].items()
    ]
    means = [
        {"pair": name, "mean": 100 * found["difference"]}
        | {key: 100 * found[key] for key in ("low", "high")}
        for name, found in zip(names, pairs, strict=True)
    ]
    return _intervals_chart(
        "Difference of paired variants for each seed, mean and 95 % interval.",
        rows, means, "pair", names, "difference", "percentage points", "+", "+.2f",
    )  # fmt: skip


def _intervals_chart(
    description: str, rows: list[Spec], means: list[Spec], group: str, names: list[str],
    value: str, title: str, ticks: str, format_: str,
) -> Spec:  # fmt: skip
    y = {
        "field": group,
        "type": "nominal",
        "sort": names,
        "axis": {"title": None, "labelColor": _INK, "labelLimit": 240},
    }
    x = {"type": "quantitative", "scale": {"zero": value == "difference"}}
    axis = {"format": ticks, "title": title, "tickCount": 6}
    bounds = [{"field": key, "format": format_} for key in ("mean", "low", "high")]
    return _BASE | {
        "description": description,
        "height": 34 * len(names) + 10,
        "layer": [
            {
                "data": {"values": means},
                "mark": {"type": "rule", "strokeWidth": 3, "color": SERIES[0], "opacity": 0.5},
                "encoding": {
                    "y": y,
                    "x": {"field": "low", "axis": axis} | x,
                    "x2": {"field": "high"},
                    "tooltip": [{"field": group}, *bounds],
                },
            },
            {
                "data": {"values": rows},
                "mark": {"type": "tick", "thickness": 1.5, "size": 14, "color": _INK},
                "encoding": {
                    "y": y,
                    "x": {"field": value} | x,
                    "tooltip": [
                        {"field": group},
                        {"field": "seed"},
                        {"field": value, "format": format_},
                    ],
                },
            },
            {
                "data": {"values": means},
                "mark": {"type": "point", "filled": True, "size": 90, "color": SERIES[0]},
                "encoding": {
                    "y": y,
                    "x": {"field": "mean"} | x,
                    "opacity": {"value": 1},
                    "tooltip": [{"field": group}, *bounds],
                },
            },
        ],
    }


def sweep_chart(study: Mapping[str, Any]) -> Spec:
    """Return a chart of the completed trials of a sweep, against the learning rate if it varies."""
    rows = [
        {key.removeprefix("settings."): value for key, value in trial.items()}
        for trial in study["trials"]
        if trial["state"] == "complete"
    ]
    accuracies = np.array([row["validation_accuracy"] for row in rows])
    best, middle = float(accuracies.max()), float(np.median(accuracies))
    # Trials that are far off lie at the edge, so that the good ones can be told apart.
    bottom = max(float(accuracies.min()), best - SPREAD * (best - middle) - 0.01)
    rates = {row.get("lr") for row in rows}
    x: Spec = {"field": "trial", "axis": {"title": "trial", "format": "d", "tickMinStep": 1}}
    if len(rates) > 1 and all(isinstance(rate, float) and rate > 0 for rate in rates):
        axis = {"title": "learning rate (logarithmic)", "format": "~g", "tickCount": 6}
        x = {"field": "lr", "scale": {"type": "log", "nice": False}, "axis": axis}
    settings = [key for key in rows[0] if f"settings.{key}" in study["trials"][0]]
    return _BASE | {
        "description": f"Validation accuracy of each trial of the sweep of {study['variant']}.",
        "data": {"values": rows},
        "height": 260,
        "mark": {"type": "point", "filled": True, "size": 60, "color": SERIES[0], "opacity": 0.8},
        "encoding": {
            "x": {"type": "quantitative"} | x,
            "y": {
                "field": "validation_accuracy",
                "type": "quantitative",
                "title": "validation accuracy",
                "scale": {"domain": [bottom, best], "clamp": True, "nice": True},
                "axis": {"format": ".1%", "tickCount": 5},
            },
            "tooltip": [
                {"field": "trial"},
                {"field": "validation_accuracy", "title": "accuracy", "format": ".2%"},
                *({"field": name, "title": name} for name in settings),
            ],
        },
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
