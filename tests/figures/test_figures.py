"""What the figures show, for networks of one and four layers and for Fashion-MNIST's names."""

import os
import subprocess
import sys
from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.text import Text
from sklearn.metrics import confusion_matrix

from pipeline.base.params import VariantSettings
from pipeline.base.params_file import read_params
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.normalization import Normalization
from pipeline.figures.architecture import SHOWN, architecture_figure
from pipeline.figures.curves import curve_figure, curves_figure, norms_figure, together_figure
from pipeline.figures.gallery import variant_figures
from pipeline.figures.passes import FIELDS
from pipeline.figures.predictions import most_confident_mistakes
from pipeline.figures.quality import calibration
from pipeline.figures.style import save_png
from pipeline.nn.inspection import inspect
from pipeline.nn.model_file import Model
from pipeline.nn.network import Architecture
from pipeline.nn.prediction import predict_probabilities
from pipeline.nn.training import make_network
from tests.conftest import ROOT

DIGITS = tuple("0123456789")
FASHION = tuple(read_params(ROOT / "params.yaml").datasets["fashion-mnist"].class_names)
SCALE = Normalization("scale", 0.0, 1.0)
NAMES = {
    "architecture", "forward", "backward", "update", "predictions", "mistakes",
    "confusion", "quality", "calibration", "curves", "norms",
}  # fmt: skip
NETWORKS = {
    "one layer": ([], DIGITS, "cross_entropy"),
    "four layers": ([30, 20, 12], DIGITS, "cross_entropy"),
    "fashion": ([16], FASHION, "mean_squared_error"),
}


def model_of(hidden, class_names, loss):
    settings = VariantSettings(
        hidden=hidden, lr=0.1, batch_size=8, epochs=3, loss=loss,
        output="softmax" if loss == "cross_entropy" else "sigmoid",
    )  # fmt: skip
    network, _ = make_network(settings, len(class_names), 0)
    return Model("net", network, SCALE, class_names, {"settings": settings.model_dump()})


def history_of(epochs=5):
    epoch = np.tile(np.arange(1, epochs + 1), 2)
    cost = np.repeat([2.0, 2.4], epochs)
    return {
        "split": np.repeat(["train", "validation"], epochs),
        "epoch": epoch,
        "cost": cost / epoch,
        "accuracy": 1 - cost / (epoch + 3),
    }


def norms_of(layers, epochs=5):
    layer = np.repeat(np.arange(1, layers + 1), epochs)
    epoch = np.tile(np.arange(1, epochs + 1), layers)
    return {
        "layer": layer,
        "epoch": epoch,
        "weight_norm": layer + epoch,
        "gradient_norm": layer / epoch,
    }


@pytest.fixture(scope="module")
def test_set(few_digits):
    def make(class_names):
        inputs = SCALE.apply(few_digits.images)
        return Examples(inputs, few_digits.labels, Description("x", class_names, "x"), SCALE)

    return make


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS)
def drawn(request, test_set):
    """A model, its test set, its probabilities and all its figures."""
    model = model_of(*request.param)
    test = test_set(model.class_names)
    probabilities = predict_probabilities(model, test.inputs)
    figures = variant_figures(
        model, test, probabilities, history_of(), norms_of(len(model.network.layers)),
        np.random.default_rng(0),
    )  # fmt: skip
    return model, test, probabilities, figures


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text().strip()]


def images(ax):
    return [image.get_array() for image in ax.get_images()]


def test_every_figure_is_there_for_every_network(drawn):
    assert set(drawn[3]) == NAMES


def test_no_text_leaves_its_figure_and_no_title_overlaps_another(drawn):
    for name, figure in drawn[3].items():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        renderer = canvas.get_renderer()
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text().strip() and not text.get_clip_on():
                box = text.get_window_extent(renderer)
                inside = box.x0 >= -2 and box.y0 >= -2
                inside &= box.x1 <= figure.bbox.width + 2 and box.y1 <= figure.bbox.height + 2
                assert inside or not box.width, (name, text.get_text(), box)
        titles = [title for ax in figure.axes for title in (ax.title, ax._left_title)]
        boxes = [
            (title.get_text(), title.get_window_extent(renderer))
            for title in titles
            if title.get_text()
        ]
        for (first, box), (second, other) in combinations(boxes, 2):
            assert not box.overlaps(other), (name, first, second)


def test_the_same_model_gives_the_same_bytes_in_a_report_of_at_most_8_megabytes(tmp_path, test_set):
    model, test = model_of([256, 128], DIGITS, "cross_entropy"), test_set(DIGITS)
    probabilities = predict_probabilities(model, test.inputs)
    written = []
    for _ in range(2):
        figures = variant_figures(
            model, test, probabilities, history_of(), norms_of(3), np.random.default_rng(0)
        )
        for name, figure in figures.items():
            save_png(figure, tmp_path / f"{name}.png")
        written.append([path.read_bytes() for path in sorted(tmp_path.iterdir())])
    assert written[0] == written[1]
    embedded = 6 * sum(map(len, written[0])) * 4 / 3  # six variants, in base 64
    assert embedded < 6e6  # the rest is for charts and their script


DRAW = """
from pathlib import Path
from pipeline.figures.style import Figure, save_png, style

with style():
    figure = Figure()
    figure.subplots().plot([-1, 1], [-1, 1], label="a line")
save_png(figure, Path("figure.png"))
"""


def test_the_users_settings_of_matplotlib_do_not_change_a_figure(tmp_path):
    settings = ("text.hinting: none", "axes.unicode_minus: False", "text.usetex: True")
    notebook = {"MPLBACKEND": "module://not_installed.backend"}
    figures = []
    for name, chosen, lines in (("plain", {}, ()), ("user", notebook, settings)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "matplotlibrc").write_text("\n".join(lines))
        done = subprocess.run(
            [sys.executable, "-c", DRAW],
            env=os.environ | {"PYTHONPATH": str(ROOT)} | chosen,
            cwd=folder, capture_output=True, check=True,
        )  # fmt: skip
        assert (done.stdout, done.stderr) == (b"", b"")
        figures.append((folder / "figure.png").read_bytes())
    assert figures[0] == figures[1]


@pytest.mark.parametrize("sizes", [(784, 10), (784, 107, 26, 10), (784, 3, 300, 9, 12, 10)])
def test_an_architecture_tells_true_sizes_and_counts_whatever_it_draws(sizes):
    architecture = Architecture(sizes, "tanh", "softmax", "cross_entropy")
    figure = architecture_figure(architecture, "net")
    said = texts(figure)
    assert f"net: {architecture.parameter_count():,} parameters" in said
    assert "input\n784 pixels" in said
    assert "output, softmax\n10 classes" in said
    for number, size in enumerate(sizes[1:-1], start=1):
        assert f"hidden {number}, tanh\n{size} neurons" in said
    for n_in, n_out in pairwise(sizes):
        expected = f"weights {n_in}×{n_out}\nbiases {n_out}\n= {n_in * n_out + n_out:,} parameters"
        assert expected in said
    assert said.count("⋮") == sum(size > SHOWN for size in sizes)
    assert said.count("bias") == len(sizes) - 1
    lines = [c for c in figure.axes[0].collections if isinstance(c, LineCollection)]
    shown = [min(size, SHOWN) for size in sizes]
    assert [len(line.get_segments()) for line in lines] == [(a + 1) * b for a, b in pairwise(shown)]


def test_a_forward_pass_shows_the_image_the_weights_and_the_values_of_every_layer(drawn):
    model, test, probabilities, figures = drawn
    index = int(np.argmax(probabilities.max(axis=1) < 0.9))
    seen = inspect(model, test.inputs[index], int(test.labels[index]))
    axes = figures["forward"].axes
    np.testing.assert_allclose(images(axes[0])[0], test.inputs[index].reshape(28, 28), atol=1e-6)
    titles = texts(figures["forward"])
    assert f"net, test image {index}: forward pass" in titles
    first = seen.layers[0].weight
    fields = min(FIELDS, first.shape[1])
    assert f"weights of {fields} of {first.shape[1]} neurons of layer 1" in titles
    np.testing.assert_allclose(images(axes[1])[0][:28, :28], first[:, 0].reshape(28, 28))
    shown = [image for ax in axes for image in images(ax)]
    for number, layer in enumerate(seen.layers, start=1):
        n_in, n_out = layer.weight.shape
        assert f"layer {number}: weights {n_in}×{n_out}" in titles
        assert any(i.shape == (n_out, n_in) and np.allclose(i, layer.weight.T) for i in shown)
        assert f"after {layer.activation_name}" in titles
    bars = [patch.get_width() for patch in axes[2].patches]
    np.testing.assert_allclose(bars, seen.probabilities)
    for probability in seen.probabilities:
        assert f"{probability:.1%}" in titles
    assert f"prediction: {model.class_names[seen.predicted]}" in titles


def test_a_backward_pass_shows_every_gradient_with_its_norm(drawn):
    model, test, probabilities, figures = drawn
    index = int(np.argmax(probabilities.max(axis=1) < 0.9))
    seen = inspect(model, test.inputs[index], int(test.labels[index]))
    titles = texts(figures["backward"])
    assert f"label: {model.class_names[seen.label]}, cost {seen.cost:.3g}" in titles
    shown = [image for ax in figures["backward"].axes for image in images(ax)]
    for number, layer in enumerate(seen.layers, start=1):
        norm = np.linalg.norm(layer.weight_gradient)
        assert f"layer {number}: dJ/dW, norm {norm:.2g}" in titles
        assert f"dJ/dB, norm {np.linalg.norm(layer.bias_gradient):.2g}" in titles
        assert f"dJ/d activation, norm {np.linalg.norm(layer.output_gradient):.2g}" in titles
        assert any(
            i.shape == layer.weight.T.shape and np.allclose(i, layer.weight_gradient.T)
            for i in shown
        )


def test_an_update_shows_before_after_and_difference_on_one_scale(drawn):
    model, test, probabilities, figures = drawn
    index = int(np.argmax(probabilities.max(axis=1) < 0.9))
    seen = inspect(model, test.inputs[index], int(test.labels[index]))
    pictures = [image for ax in figures["update"].axes for image in ax.get_images()]
    pictures = [image for image in pictures if image.get_array().ndim == 2]
    for number, layer in enumerate(seen.layers):
        before, after, difference = pictures[3 * number : 3 * number + 3]
        np.testing.assert_allclose(before.get_array(), layer.weight.T)
        np.testing.assert_allclose(after.get_array(), layer.weight_after.T)
        np.testing.assert_allclose(
            difference.get_array(), (layer.weight_after - layer.weight).T, atol=1e-9
        )
        assert before.get_clim() == after.get_clim()
        assert before.get_clim()[0] == -before.get_clim()[1]


def test_predictions_name_what_was_said_and_what_it_is(drawn):
    model, test, probabilities, figures = drawn
    order = np.random.default_rng(0).permutation(len(test))
    (ax,) = figures["predictions"].axes
    assert len(ax.texts) == len(ax.patches) == 25
    for text, frame, row in zip(ax.texts, ax.patches, order, strict=False):
        caption = text.get_text().replace("\n", " ").replace("/ ", "/")
        said = model.class_names[probabilities[row].argmax()]
        true = model.class_names[test.labels[row]]
        assert caption.startswith(said)
        assert caption.endswith(f"{probabilities[row].max():.0%}")
        assert (f"is {true}" in caption) == (said != true)
        x, y = (round(edge + 0.5) for edge in frame.get_xy())
        shown = images(ax)[0][y : y + 28, x : x + 28]
        np.testing.assert_allclose(shown, test.inputs[row].reshape(28, 28), atol=1e-6)


def test_mistakes_are_wrong_and_the_most_confident_first():
    labels = np.array([0, 1, 2, 0])
    probabilities = np.array([[0.9, 0.1, 0], [0.6, 0.4, 0], [0.8, 0.1, 0.1], [0.2, 0.5, 0.3]])
    assert most_confident_mistakes(labels, probabilities, 9).tolist() == [2, 1, 3]
    assert most_confident_mistakes(labels, probabilities, 1).tolist() == [2]


def test_a_confusion_matrix_shows_its_counts(drawn):
    model, test, probabilities, figures = drawn
    predicted = probabilities.argmax(axis=1)
    counts = confusion_matrix(test.labels, predicted, labels=range(10))
    ax = figures["confusion"].axes[0]
    cells = {text.get_position(): text.get_text() for text in ax.texts}
    assert cells == {
        (column, row): str(counts[row, column]) for row, column in np.argwhere(counts).tolist()
    }
    assert [label.get_text() for label in ax.get_yticklabels()] == list(model.class_names)
    right = int((predicted == test.labels).sum())
    assert ax.get_title(loc="left") == f"net: {right} of {len(test)} right"


def test_calibration_by_hand():
    confidence = np.array([0.95, 0.91, 0.55, 0.55, 1.0])
    means, accuracies, counts = calibration(confidence, np.array([True, False, True, False, True]))
    np.testing.assert_allclose(means, [0.55, (0.95 + 0.91 + 1) / 3])
    np.testing.assert_allclose(accuracies, [0.5, 2 / 3])
    assert counts.tolist() == [2, 3]


def test_curves_show_the_history(drawn):
    history = history_of()
    for ax, measure in zip(drawn[3]["curves"].axes, ("cost", "accuracy"), strict=True):
        for line, split in zip(ax.get_lines(), ("train", "validation"), strict=False):
            part = history["split"] == split
            np.testing.assert_allclose(line.get_ydata(), history[measure][part])
            np.testing.assert_allclose(line.get_xdata(), history["epoch"][part])
    loss = drawn[0].network.architecture.loss
    unit = {"cross_entropy": "cross-entropy (nats)", "mean_squared_error": "mean squared error"}
    assert drawn[3]["curves"].axes[0].get_ylabel() == unit[loss]


def test_all_variants_stand_side_by_side_and_together():
    histories = {f"net{number}": history_of(3 + number) for number in range(7)}
    losses = dict.fromkeys(histories, "cross_entropy")
    figure = curves_figure(histories, losses, "accuracy", "all")
    titled = [ax.get_title(loc="left") for ax in figure.axes if ax.get_title(loc="left")]
    assert titled == list(histories)
    together = together_figure(histories, "all").axes[0]
    assert len(together.get_lines()) == 7
    assert together.get_xscale() == "log"
    styles = {(line.get_color(), line.get_linestyle()) for line in together.get_lines()}
    assert len(styles) == 7


def test_norms_show_a_line_a_layer():
    figure = norms_figure(norms_of(3), "net")
    for ax, column in zip(figure.axes, ("weight_norm", "gradient_norm"), strict=True):
        for layer, line in enumerate(ax.get_lines(), start=1):
            rows = norms_of(3)
            np.testing.assert_allclose(line.get_ydata(), rows[column][rows["layer"] == layer])
        assert len(ax.get_lines()) == 3


def test_one_curve_figure_has_finite_limits_for_a_single_epoch():
    figure = curve_figure(history_of(1), "cross_entropy", "net")
    for ax in figure.axes:
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
