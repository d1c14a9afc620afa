"""One image inside a network: forward pass, backward pass, and one step of training."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.base.errors import exact
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
    class_labels,
    literal,
    names_width,
    style,
    wrapped,
)
from pipeline.nn.inspection import Inspection, LayerInspection, input_gradients
from pipeline.nn.layers import Array
from pipeline.nn.model_file import Model
from pipeline.nn.network import DIVIDED

SHOWN = 10
"""Neurons per layer shown as pictures at most."""
INPUTS = 60
"""Inputs of a layer shown in a heat map at most."""
BARS = 12
"""Neurons per layer drawn as bars with their names; a larger layer is a square of cells."""
LETTERS = 12
"""Letters per line of the name under a picture."""
_WIDTH, _HEAD, _TOP, _ROW = 10.0, 0.65, 2.3, 1.75
"""Inches: the width of a figure, the height of its title, of its first row and of each layer's."""
_GAP = 2
"""Pixels between two pictures."""
_KERNEL = np.array([1, 4, 6, 4, 1]) / 16


class _Page:
    """A figure of rows from top to bottom, on which axes are placed in inches."""

    def __init__(self, title: str, heights: list[float]) -> None:
        self.height = _HEAD + sum(heights)
        self.figure = Figure(figsize=(_WIDTH, self.height))
        self.figure.suptitle(
            title, x=0.012, y=1 - 0.12 / self.height, ha="left", va="top", fontweight="bold"
        )
        self._tops = [_HEAD + sum(heights[:row]) for row in range(len(heights))]

    def axes(self, row: int, left: float, width: float, height: float, down: float = 0.0) -> Axes:
        """Return axes of a size in inches, `left` from the edge and `down` from the row's top."""
        bottom = self.height - self._tops[row] - down - height
        place = (left / _WIDTH, bottom / self.height, width / _WIDTH, height / self.height)
        return self.figure.add_axes(place)


def smoothed_picture(values: Array) -> Array:
    """Return pixels `(784,)` as a picture `(28, 28)`, each averaged with its neighbours.

    The weights are binomial, (1, 4, 6, 4, 1) / 16 down and across: a blur of one pixel. It shows
    strokes among the noise that random initial weights leave.
    """
    picture = np.pad(values.reshape(HEIGHT, WIDTH), 2, mode="edge")
    down = sum(part * picture[k : k + HEIGHT] for k, part in enumerate(_KERNEL))
    across: Array = sum(part * down[:, k : k + WIDTH] for k, part in enumerate(_KERNEL))
    return across


def draw_image(ax: Axes, inputs: Array, normalization: Normalization) -> None:
    """Draw a network's input `(784,)` as a picture, dark on light."""
    brightness = normalization.undo(inputs).reshape(HEIGHT, WIDTH)
    ax.imshow(brightness, cmap="gray_r", vmin=0, vmax=1)
    _bare(ax)


def draw_probabilities(
    ax: Axes, probabilities: Array, label: int, class_names: tuple[str, ...]
) -> None:
    """Draw one bar per class with its percentage; the true class in green, a wrong one in red.

    Of many classes, draw the most likely ones and the true one.
    """
    chosen = np.arange(len(class_names))
    if len(chosen) > BARS:
        chosen = np.union1d(_strongest(probabilities), label)
        ax.set_xlabel(f"{len(chosen)} of {len(class_names)} classes", fontsize=8)
    colours = {int(probabilities.argmax()): RED} | {label: GREEN}
    rows, shares = np.arange(len(chosen)), probabilities[chosen]
    ax.barh(rows, shares, color=[colours.get(place, "#9AA3AD") for place in chosen.tolist()])
    for row, probability in enumerate(shares):
        inside = probability > 0.85  # the longest bars have no room beside them
        ax.text(
            probability + (-0.01 if inside else 0.01), row, f"{probability:.1%}", fontsize=8,
            va="center", ha="right" if inside else "left", color="white" if inside else INK,
        )  # fmt: skip
    ax.set_yticks(rows, [class_names[place] for place in chosen], fontsize=8)
    ax.set(xlim=(0, 1), xticks=[0, 0.25, 0.5, 0.75, 1])
    ax.set_xticklabels(["0 %", "25 %", "50 %", "75 %", "100 %"], fontsize=8)
    ax.grid(visible=False, axis="y")
    ax.invert_yaxis()


def draw_neurons(ax: Axes, values: Array, class_names: tuple[str, ...], *, last: bool) -> None:
    """Draw one number per neuron: bars for a small layer, otherwise a square of cells.

    Blue is negative, red positive, white 0. last: whether these are the outputs, one per class.
    """
    if len(values) <= BARS:
        places = np.arange(len(values))
        ax.bar(places, values, color=np.where(values < 0, BLUE, ORANGE).tolist(), width=0.7)
        ax.axhline(0, color=INK, linewidth=0.6)
        names = class_names if last else tuple(str(place + 1) for place in places)
        long = max(map(len, names)) > 2
        ax.set_xticks(places, names, fontsize=7 if long else 8, rotation=90 if long else 0)
        ax.grid(visible=False, axis="x")
        ax.tick_params(axis="y", labelsize=8)
        ax.yaxis.get_offset_text().set_fontsize(7)
        ax.yaxis.set_major_locator(MaxNLocator(3))
        return
    columns = int(np.ceil(np.sqrt(len(values))))
    cells = np.full(columns * -(-len(values) // columns), np.nan)
    cells[: len(values)] = values
    limit = float(np.abs(values).max()) or 1.0
    ax.imshow(cells.reshape(-1, columns), cmap=SIGNED, vmin=-limit, vmax=limit)
    _bare(ax)
    ax.set_xlabel(f"{len(values)} neurons, red up to {limit:.2g}", fontsize=8)


def draw_pictures(
    ax: Axes, columns: Array, captions: list[str], limit: float | None = None
) -> None:
    """Draw columns of `(784, n)` as n pictures side by side, each over its caption.

    Blue is negative, red positive, white 0. limit: the value of the strongest colour; by default
    each picture has its own.
    """
    step = WIDTH + _GAP
    mosaic = np.full((HEIGHT, step * SHOWN - _GAP), np.nan)
    for number, column in enumerate(columns.T):
        picture = column.reshape(HEIGHT, WIDTH)
        scale = limit or float(np.abs(picture).max()) or 1.0
        mosaic[:, number * step : number * step + WIDTH] = picture / scale
        ax.text(
            number * step + (WIDTH - 1) / 2, HEIGHT + 1, captions[number],
            ha="center", va="top", fontsize=8,
        )  # fmt: skip
    ax.imshow(mosaic, cmap=SIGNED, vmin=-1, vmax=1)
    ax.set_axis_off()


def draw_heat_map(ax: Axes, values: Array) -> None:
    """Draw a matrix `(n_in, n_out)`, one row per neuron, white at 0."""
    limit = float(np.abs(values).max()) or 1.0
    ax.imshow(values.T, cmap=SIGNED, vmin=-limit, vmax=limit, aspect="auto")
    _bare(ax)
    ax.set_xlabel(f"{values.shape[0]} inputs, blue to red: ±{limit:.2g}", fontsize=8)
    ax.set_ylabel(f"{values.shape[1]} neurons", fontsize=8)


def forward_figure(inspection: Inspection, model: Model, title: str) -> Figure:
    """Draw the image, the answer, and each layer: its values and what its neurons look for.

    The neurons are the most active ones, or the classes. A picture shows the gradient of a
    neuron's pre-activation in the pixels, smoothed: for layer 1 its weights.
    """
    classes = class_labels(model.class_names)
    with style():
        page = _Page(title, [_TOP, *_layer_heights(inspection, classes)])
        _draw_input(page, inspection, model.normalization)
        ax = _answer_axes(page, classes)
        draw_probabilities(ax, inspection.probabilities, inspection.label, classes)
        divided = model.network.architecture.divides_outputs
        _set_title(
            ax, f"prediction: {classes[inspection.predicted]}, label: {classes[inspection.label]}"
            + (f" ({DIVIDED})" if divided else ""),
        )  # fmt: skip
        for number, layer in enumerate(inspection.layers, start=1):
            _draw_forward_row(page, number, inspection, layer, classes)
    return page.figure


def backward_figure(inspection: Inspection, model: Model, title: str) -> Figure:
    """Draw the answer beside the label, and every gradient with its norm.

    Of dJ/dW, draw the neurons with the largest gradients: in layer 1 as pictures, in the others as
    a heat map of the inputs with the largest.
    """
    classes = class_labels(model.class_names)
    with style():
        page = _Page(title, [_TOP, *reversed(_layer_heights(inspection, classes))])
        _draw_input(page, inspection, model.normalization)
        ax = _answer_axes(page, classes)
        draw_probabilities(ax, inspection.probabilities, inspection.label, classes)
        _set_title(
            ax, f"prediction: {classes[inspection.predicted]}, "
            f"label: {classes[inspection.label]}, cost {inspection.cost:.3g}",
        )  # fmt: skip
        for number, layer in reversed(list(enumerate(inspection.layers, start=1))):
            _draw_backward_row(page, number, inspection, layer, classes)
    return page.figure


def update_figure(inspection: Inspection, model: Model, title: str) -> Figure:
    """Draw what one step changes: the answer before and after, and weights beside their change.

    A change is too small to be seen in the weights, so it has a scale of its own. Drawn are the
    neurons that change most, in layer 1 as pictures.
    """
    classes = class_labels(model.class_names)
    with style():
        page = _Page(title, [_TOP] + [2.4] + [2.15] * (len(inspection.layers) - 1))
        for place, (name, shares, cost) in enumerate(
            (
                ("before", inspection.probabilities, inspection.cost),
                ("after", inspection.probabilities_after, inspection.cost_after),
            )
        ):
            left = 0.3 + 4.85 * place + names_width(classes)
            ax = page.axes(0, left, 4.5 - names_width(classes), 1.6, 0.15)
            draw_probabilities(ax, shares, inspection.label, classes)
            _set_title(ax, f"{name}: {classes[int(shares.argmax())]}, cost {cost:.3g}")
        for number, layer in enumerate(inspection.layers, start=1):
            _draw_update_row(page, number, layer)
    return page.figure


def passes_figures(inspection: Inspection, model: Model, title: str) -> dict[str, Figure]:
    """Draw the forward pass, the backward pass and the update; keys are names of files."""
    title = literal(title)
    step = f"one step of {inspection.optimizer}, learning rate {exact(inspection.lr)}"
    return {
        "forward": forward_figure(inspection, model, f"{title}: forward pass"),
        "backward": backward_figure(inspection, model, f"{title}: backward pass"),
        "update": update_figure(inspection, model, f"{title}: {step}"),
    }


def _layer_heights(inspection: Inspection, class_names: tuple[str, ...]) -> list[float]:
    """Return the height of each layer's row; below the last one's bars stand the class names."""
    upright = max(0.0, 0.7 * names_width(class_names) - 0.3) if len(class_names) <= BARS else 0.0
    return [_ROW] * (len(inspection.layers) - 1) + [_ROW + upright]


def _draw_input(page: _Page, inspection: Inspection, normalization: Normalization) -> None:
    ax = page.axes(0, 0.3, 1.6, 1.6, 0.15)
    draw_image(ax, inspection.inputs, normalization)
    ax.set_title("input, 28×28")


def _answer_axes(page: _Page, class_names: tuple[str, ...]) -> Axes:
    left = 2.6 + max(0.0, names_width(class_names) - 0.2)
    return page.axes(0, left, 9.75 - left, 1.6, 0.15)


def _set_title(ax: Axes, title: str) -> None:
    """Give axes a title of as many lines as their width requires."""
    ax.set_title(wrapped(title, int(ax.get_position().width * _WIDTH / names_width(["x"]))))


def _draw_forward_row(
    page: _Page, number: int, inspection: Inspection, layer: LayerInspection,
    class_names: tuple[str, ...],
) -> None:  # fmt: skip
    last = number == len(inspection.layers)
    values = layer.pre_activation if last else layer.activation
    chosen = _strongest(layer.activation)
    left = page.axes(number, 0.5 if len(values) <= BARS else 0.3, 1.5, 1.1, 0.2)
    draw_neurons(left, values, class_names, last=last)
    name = "output" if last else layer.activation_name
    kind = "pre-activation" if last else f"after {name}"
    left.set_title(f"layer {number}: {kind}", fontsize=10)
    right = page.axes(number, 2.6, 7.15, 0.75, 0.2)
    captions = [
        f"{wrapped(class_names[neuron], LETTERS)}\n{_short(layer.activation[neuron])}"
        if last
        else f"{layer.activation[neuron]:.2g}"
        for neuron in chosen
    ]
    gradients = input_gradients(inspection, number, chosen)
    draw_pictures(
        right, np.stack([smoothed_picture(each).ravel() for each in gradients.T], axis=1), captions
    )
    right.set_title(_forward_title(number, len(chosen), layer, last=last), fontsize=10)


def _forward_title(number: int, count: int, layer: LayerInspection, *, last: bool) -> str:
    every = len(layer.activation)
    some = (
        f"the {count} most active of {every} neurons" if count < every else f"all {count} neurons"
    )
    if last:
        some = "each class" if count == every else f"the {count} most likely classes"
    what = f"weights of {some}" if number == 1 else f"red pixels raise {some}, blue lower"
    return f"{what}; {f'values after {layer.activation_name}' if last else 'their values'}"


def _draw_backward_row(
    page: _Page, number: int, inspection: Inspection, layer: LayerInspection,
    class_names: tuple[str, ...],
) -> None:  # fmt: skip
    layers = len(inspection.layers)
    last, row = number == layers, layers - number + 1  # the last layer comes first
    for place, (name, values) in enumerate(
        (("dJ/d activation", layer.output_gradient), ("dJ/dB", layer.bias_gradient))
    ):
        left = 0.3 + 2.35 * place + (0.35 if len(values) <= BARS else 0)
        ax = page.axes(row, left, 1.5, 1.05, 0.3)
        draw_neurons(ax, values, class_names, last=last)
        shown = f"layer {number}: {name}" if place == 0 else name
        ax.set_title(f"{shown}\nnorm {_norm(values)}", fontsize=10)
    gradient = layer.weight_gradient
    neurons = _strongest(np.abs(layer.bias_gradient))
    heading = f"dJ/dW, norm {_norm(gradient)}"
    if number == 1:
        ax = page.axes(row, 5.0, 4.75, 0.5, 0.3)
        limit = float(np.abs(gradient).max()) or 1.0
        captions = [f"{layer.bias_gradient[neuron]:.1g}" for neuron in neurons]
        draw_pictures(ax, gradient[:, neurons], captions, limit)
        heading += f": image × dJ/dB, {len(neurons)} of {gradient.shape[1]} neurons"
    else:
        ax = page.axes(row, 5.3, 4.45, 1.0, 0.3)
        inputs = _strongest(np.abs(gradient).max(axis=1), INPUTS)
        draw_heat_map(ax, gradient[np.ix_(inputs, neurons)])
        heading += f": the largest of {gradient.shape[0]}×{gradient.shape[1]}"
    ax.set_title(heading, fontsize=10)


def _draw_update_row(page: _Page, number: int, layer: LayerInspection) -> None:
    change = layer.weight_after - layer.weight
    most, largest = float(np.abs(change).max()), float(np.abs(layer.weight).max())
    neurons = _strongest(np.abs(change).max(axis=0))
    share = f", {_short(100 * most / largest)} % of that" if largest else ""
    heads = (
        f"layer {number}: weights {_shape(change)}, up to {largest:.2g}",
        f"their change, up to {most:.2g}{share}; norm {_norm(change)}",
    )
    if number == 1:
        pictures = [
            (np.stack([smoothed_picture(each).ravel() for each in layer.weight[:, neurons].T], 1)),
            change[:, neurons],
        ]
        for place, (head, columns) in enumerate(zip(heads, pictures, strict=True)):
            ax = page.axes(number, 0.3, 9.4, 0.88, 0.1 + 1.16 * place)
            draw_pictures(ax, columns, [""] * len(neurons), float(np.abs(columns).max()) or 1.0)
            ax.set_title(head, fontsize=10)
        return
    inputs = _strongest(np.abs(change).max(axis=1), INPUTS)
    chosen = np.ix_(inputs, neurons)
    for place, (head, values) in enumerate(
        zip(heads, (layer.weight[chosen], change[chosen]), strict=True)
    ):
        ax = page.axes(number, 0.5 + 4.8 * place, 4.4, 1.4, 0.2)
        draw_heat_map(ax, values)
        ax.set_title(head, fontsize=9)


def _bare(ax: Axes) -> None:
    ax.set(xticks=[], yticks=[])
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set(visible=True, color=PALE)


def _strongest(values: Array, count: int = SHOWN) -> Array:
    """Return the indices of the largest values, in ascending order."""
    order: Array = np.sort(np.argsort(-values, kind="stable")[:count])
    return order


def _short(value: float) -> str:
    return f"{value:.2g}" if 0.001 <= abs(value) < 1000 or value == 0 else f"{value:.0e}"


def _shape(values: Array) -> str:
    return "×".join(map(str, values.shape))


def _norm(values: Array) -> str:
    return f"{float(np.sqrt((values**2).sum())):.2g}"
