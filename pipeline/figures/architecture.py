"""A network as columns of neurons and lines of weights; the texts give its true sizes."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from pipeline.figures.style import BLUE, INK, ORANGE, RED, style
from pipeline.nn.layers import Array
from pipeline.nn.network import Architecture, Network

SHOWN = 10
"""Neurons drawn per layer at most; a larger layer shows half of them on each side of dots."""
THICKEST = 1.6
"""Width of the line of a layer's largest drawn weight, in points."""
_SPACING = 2.4


def draw_architecture(ax: Axes, network: Network) -> None:
    """Draw layers left to right, input first, and a bias neuron above all but the output.

    Lines are weights and biases: red positive, blue negative, the thicker the larger. Of a large
    layer, draw the neurons with the largest weights to those drawn after it.
    """
    architecture = network.architecture
    chosen = _with_largest_weights(network)
    sizes = architecture.sizes
    last = len(sizes) - 1
    columns = [_positions(size) for size in sizes]
    for number in range(last):
        x0, x1 = number * _SPACING, (number + 1) * _SPACING
        ends = [y for y in columns[number + 1] if y is not None]
        starts = [*(y for y in columns[number] if y is not None), _bias_height()]
        lines = [[(x0, start), (x1, end)] for start in starts for end in ends]
        layer = network.layers[number]
        weights = layer.weight[np.ix_(chosen[number], chosen[number + 1])]
        values = np.vstack([weights, layer.bias[chosen[number + 1]]]).astype(np.float64).ravel()
        shares = np.abs(values) / (np.abs(values).max() or 1.0)
        colours = np.where(values < 0, BLUE, RED).tolist()
        ax.add_collection(
            LineCollection(lines, colors=colours, linewidths=THICKEST * shares, zorder=1)
        )
        ax.plot(x0, _bias_height(), "s", color="white", markeredgecolor=INK, markersize=8, zorder=2)
        ax.annotate("bias", (x0, _bias_height()), xytext=(0, 6), textcoords="offset points",
                    ha="center", va="bottom", fontsize=8)  # fmt: skip
        n_in, n_out = sizes[number], sizes[number + 1]
        ax.text(
            (x0 + x1) / 2, -_half_height() - 1.0,
            f"weights {n_in}×{n_out}\nbiases {n_out}\n= {n_in * n_out + n_out:,} parameters",
            ha="center", va="top", fontsize=8,
        )  # fmt: skip
    for number, column in enumerate(columns):
        x = number * _SPACING
        colour = ORANGE if number == last else BLUE
        for y in column:
            if y is None:
                ax.text(x, 0, "⋮", ha="center", va="center", fontsize=14)
            else:
                ax.plot(x, y, "o", color=colour, markeredgecolor="white", markersize=9, zorder=2)
        ax.text(x, _bias_height() + 1.3, _title(architecture, number), ha="center", va="bottom")
    ax.set_xlim(-1.1, last * _SPACING + 1.1)
    ax.set_ylim(-_half_height() - 3.6, _bias_height() + 3.6)
    ax.set_axis_off()


def architecture_figure(network: Network, title: str) -> Figure:
    """Draw a network with its number of parameters in the title."""
    architecture = network.architecture
    with style():
        width = max(7.6, 2.2 * len(architecture.sizes))
        figure = Figure(figsize=(width, 5.2))
        ax = figure.add_axes((0.02, 0.01, 0.96, 0.92))
        draw_architecture(ax, network)
        ax.set_title(
            f"{title}: {architecture.parameter_count():,} parameters; "
            "red lines are positive, blue negative, thick large"
        )
    return figure


def _with_largest_weights(network: Network) -> list[Array]:
    """Return the neurons to draw of each layer, input first, in ascending order."""
    chosen = [_largest(np.abs(network.layers[-1].weight).max(axis=0))]
    for layer in reversed(network.layers):
        chosen.insert(0, _largest(np.abs(layer.weight[:, chosen[0]]).max(axis=1)))
    return chosen


def _largest(values: Array) -> Array:
    order: Array = np.sort(np.argsort(-values, kind="stable")[:SHOWN])
    return order


def _title(architecture: Architecture, number: int) -> str:
    size = architecture.sizes[number]
    last = len(architecture.sizes) - 1
    if number == 0:
        return f"input\n{size} pixels"
    if number == last:
        return f"output, {architecture.output}\n{size} classes"
    return f"hidden {number}, {architecture.activation}\n{size} neurons"


def _positions(size: int) -> list[float | None]:
    """Return heights of the drawn neurons around 0; None is the gap for those left out."""
    if size <= SHOWN:
        return [(size - 1) / 2 - row for row in range(size)]
    half = SHOWN // 2
    above = [half - row for row in range(half)]
    return [*map(float, above), None, *(-float(y) for y in reversed(above))]


def _half_height() -> float:
    return SHOWN / 2


def _bias_height() -> float:
    return SHOWN / 2 + 1.2
