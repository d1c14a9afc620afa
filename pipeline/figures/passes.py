"""One image inside a network: forward pass, backward pass, and one step of training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from numpy.typing import NDArray

from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.datasets.normalization import Normalization
from pipeline.figures.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PALE,
    RED,
    SIGNED,
    literal,
    margins,
    names_width,
    style,
)
from pipeline.nn.inspection import Inspection, LayerInspection
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model

FIELDS = 24
"""Receptive fields of the first layer shown at most."""
_HEAD, _ROW = 2.5, 1.55
"""Inches of a figure's head and of each layer's row."""
CLASSES = 12
"""Most classes that have room one below the other."""


def draw_image(ax: Axes, inputs: Array, normalization: Normalization) -> None:
    """Draw a network's input `(784,)` as a picture, dark on light."""
    brightness = normalization.undo(inputs).reshape(HEIGHT, WIDTH)
    ax.imshow(brightness, cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=PALE)


def draw_probabilities(ax: Axes, inspection: Inspection, class_names: tuple[str, ...]) -> None:
    """Draw one bar per class with its percentage; the true class in green, a wrong one in red.

    Of many classes the most probable ones are drawn, and the true one.
    """
    colours = [PALE] * len(class_names)
    colours[inspection.predicted] = RED
    colours[inspection.label] = GREEN
    shown = _shown_classes(inspection)
    _draw_class_bars(ax, inspection.probabilities, colours, class_names, shown)
    for row, probability in enumerate(inspection.probabilities[shown]):
        ax.text(probability + 0.02, row, f"{probability:.1%}", va="center", fontsize=8, color=INK)
    ax.set_title(f"prediction: {class_names[inspection.predicted]}")


def draw_truth(ax: Axes, inspection: Inspection, class_names: tuple[str, ...]) -> None:
    """Draw the ideal probabilities: 1 for the true class."""
    truth = np.arange(len(class_names)) == inspection.label
    colours = [GREEN if true else PALE for true in truth]
    _draw_class_bars(ax, truth, colours, class_names, _shown_classes(inspection))
    ax.set_title(f"label: {class_names[inspection.label]}, cost {inspection.cost:.3g}")


def _shown_classes(inspection: Inspection) -> NDArray[np.intp]:
    """Return the classes to draw, in order: all, or the most probable ones and the true one."""
    probabilities = inspection.probabilities
    if len(probabilities) <= CLASSES:
        return np.arange(len(probabilities))
    most = np.argsort(-probabilities, kind="stable")[: CLASSES - 1]
    return np.union1d(most, [inspection.label])


def _draw_class_bars(
    ax: Axes,
    shares: Array,
    colours: list[str],
    class_names: tuple[str, ...],
    shown: NDArray[np.intp],
) -> None:
    rows = np.arange(len(shown))
    ax.barh(rows, shares[shown], color=[colours[label] for label in shown])
    ax.set_yticks(rows, [class_names[label] for label in shown])
    ax.set(xlim=(0, 1.2), xticks=[0, 0.5, 1], xticklabels=["0 %", "50 %", "100 %"])
    ax.invert_yaxis()


def draw_receptive_fields(ax: Axes, weight: Array) -> None:
    """Draw the weights of the first neurons of the first layer as pictures of 28x28 pixels."""
    count = min(FIELDS, weight.shape[1])
    columns = min(count, 8)
    rows = -(-count // columns)
    step = HEIGHT + 2
    mosaic = np.full((rows * step - 2, columns * step - 2), np.nan)
    for neuron in range(count):
        y, x = neuron // columns * step, neuron % columns * step
        mosaic[y : y + HEIGHT, x : x + WIDTH] = weight[:, neuron].reshape(HEIGHT, WIDTH)
    limit = float(np.nanmax(np.abs(mosaic))) or 1.0
    ax.imshow(mosaic, cmap=SIGNED, vmin=-limit, vmax=limit)
    ax.set_axis_off()
    ax.set_title(f"weights of {count} of {weight.shape[1]} neurons of layer 1")


def draw_weights(ax: Axes, values: Array, limit: float | None = None) -> None:
    """Draw a matrix `(n_in, n_out)` as a heat map, one row per neuron, white at 0."""
    limit = limit or float(np.abs(values).max()) or 1.0
    ax.imshow(
        values.T, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto", interpolation="antialiased"
    )
    ax.grid(visible=False)
    ax.set(xticks=[], yticks=[])
    ax.set_xlabel(f"{values.shape[0]} inputs, blue to red: ±{limit:.2g}", fontsize=8)
    ax.set_ylabel(f"{values.shape[1]} neurons", fontsize=8)


def draw_values(ax: Axes, values: Array, colour: str) -> None:
    """Draw one number per neuron as a stem from 0."""
    places = np.arange(len(values))
    ax.vlines(places, 0, values, color=colour, linewidth=max(0.6, 60 / len(values) ** 0.9))
    ax.axhline(0, color=INK, linewidth=0.6)
    ax.set_xlim(-1, len(values))
    ax.set_xticks([])
    ax.set_xlabel(f"{len(values)} neurons", fontsize=8)
    ax.tick_params(labelsize=7)
    ax.yaxis.get_offset_text().set_fontsize(7)
    ax.locator_params(axis="y", nbins=4)


def forward_figure(
    inspection: Inspection, class_names: tuple[str, ...], normalization: Normalization, title: str
) -> Figure:
    """Draw the image, each layer's weights and values, and the probabilities."""
    with style():
        figure, head, rows = _frame(inspection, title)
        parts = head.subgridspec(1, 3, width_ratios=[1, 2.0, 1.6], wspace=_space(class_names))
        _draw_input(figure.add_subplot(parts[0]), inspection, normalization)
        draw_receptive_fields(figure.add_subplot(parts[1]), inspection.layers[0].weight)
        draw_probabilities(figure.add_subplot(parts[2]), inspection, class_names)
        for number, (row, layer) in enumerate(zip(rows, inspection.layers, strict=True), start=1):
            left, middle, right = _row_axes(figure, row)
            draw_weights(left, layer.weight)
            left.set_title(f"layer {number}: weights {_shape(layer.weight)}")
            draw_values(middle, layer.pre_activation, BLUE)
            middle.set_title("pre-activation")
            draw_values(right, layer.activation, ORANGE)
            right.set_title(f"after {layer.activation_name}")
    return figure


def backward_figure(
    inspection: Inspection, class_names: tuple[str, ...], normalization: Normalization, title: str
) -> Figure:
    """Draw the prediction beside the label, and every gradient with its norm."""
    with style():
        figure, head, rows = _frame(inspection, title)
        parts = head.subgridspec(1, 3, width_ratios=[1, 1.9, 1.9], wspace=_space(class_names))
        _draw_input(figure.add_subplot(parts[0]), inspection, normalization)
        draw_probabilities(figure.add_subplot(parts[1]), inspection, class_names)
        draw_truth(figure.add_subplot(parts[2]), inspection, class_names)
        for number, (row, layer) in enumerate(zip(rows, inspection.layers, strict=True), start=1):
            left, middle, right = _row_axes(figure, row)
            draw_weights(left, layer.weight_gradient)
            left.set_title(f"layer {number}: dJ/dW, norm {_norm(layer.weight_gradient)}")
            draw_values(middle, layer.bias_gradient, BLUE)
            middle.set_title(f"dJ/dB, norm {_norm(layer.bias_gradient)}")
            draw_values(right, layer.output_gradient, ORANGE)
            right.set_title(f"dJ/d activation, norm {_norm(layer.output_gradient)}")
    return figure


def update_figure(inspection: Inspection, title: str) -> Figure:
    """Draw every layer's weights before and after one step, and their difference."""
    with style():
        count = len(inspection.layers)
        figure = Figure(figsize=(10, 0.6 + 1.9 * count))
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        place = margins(figure, 0.35, 0.2, 0.3, 0.75) | {"wspace": 0.12, "hspace": 0.4}
        axes = figure.subplots(count, 3, squeeze=False, gridspec_kw=place)
        for number, (row, layer) in enumerate(zip(axes, inspection.layers, strict=True), start=1):
            _draw_update(row, layer, number)
    return figure


def passes_figures(inspection: Inspection, model: Model, title: str) -> dict[str, Figure]:
    """Draw the forward pass, the backward pass and the update; keys are names of files."""
    classes, normalization = tuple(map(literal, model.class_names)), model.normalization
    title = literal(title)
    return {
        "forward": forward_figure(inspection, classes, normalization, f"{title}: forward pass"),
        "backward": backward_figure(inspection, classes, normalization, f"{title}: backward pass"),
        "update": update_figure(inspection, f"{title}: one step along its gradient"),
    }


def _draw_input(ax: Axes, inspection: Inspection, normalization: Normalization) -> None:
    draw_image(ax, inspection.inputs, normalization)
    ax.set_title("input, 28×28")


def _draw_update(row: Array, layer: LayerInspection, number: int) -> None:
    limit = float(max(np.abs(layer.weight).max(), np.abs(layer.weight_after).max()))
    difference = layer.weight_after - layer.weight
    draw_weights(row[0], layer.weight, limit)
    row[0].set_title(f"layer {number}: weights {_shape(layer.weight)} before")
    draw_weights(row[1], layer.weight_after, limit)
    row[1].set_title("after")
    draw_weights(row[2], difference)
    row[2].set_title(f"difference, norm {_norm(difference)}")


def _frame(inspection: Inspection, title: str) -> tuple[Figure, SubplotSpec, list[SubplotSpec]]:
    count = len(inspection.layers)
    figure = Figure(figsize=(10, _HEAD + _ROW * count + 1.0))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    grid = figure.add_gridspec(
        1 + count, 1, height_ratios=[_HEAD] + [_ROW] * count, hspace=0.4,
        **margins(figure, 0.35, 0.2, 0.3, 0.75),
    )  # fmt: skip
    return figure, grid[0], [grid[row + 1] for row in range(count)]


def _space(class_names: tuple[str, ...]) -> float:
    """Return the space between columns that leaves room for the names of the classes."""
    return (0.25 + names_width(class_names)) / 2.6


def _row_axes(figure: Figure, place: SubplotSpec) -> list[Axes]:
    grid = place.subgridspec(1, 3, wspace=0.25)
    return [figure.add_subplot(grid[column]) for column in range(3)]


def _shape(values: Array) -> str:
    return "×".join(map(str, values.shape))


def _norm(values: Array) -> str:
    return f"{float(np.sqrt((values**2).sum())):.2g}"
