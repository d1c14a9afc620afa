"""What figures of a sweep show of its trials."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import same_color, to_rgb

from pipeline.figures.style import ORANGE, save_png
from pipeline.figures.sweeps import NEAREST, parallel_figure, sweep_figures
from tests.figures.rendered import check_rendered, render

LOGARITHMIC = {"lr", "batch_size"}


def table_of(count=30, lr=None):
    rng = np.random.default_rng(0)
    accuracy = 0.9 + 0.05 * rng.random(count)
    accuracy[:2] = 0.1, 0.2
    table = pd.DataFrame(
        {
            "trial": range(count),
            "state": ["complete"] * (count - 4) + ["pruned", "failed", "pruned", "failed"],
            "validation_accuracy": accuracy,
            "settings.lr": np.geomspace(0.001, 1, count) if lr is None else lr,
            "settings.momentum": rng.random(count),
            "settings.batch_size": rng.choice([16, 64, 256], count),
            "settings.hidden": rng.choice(["[8]", "[16, 8]", "[128]"], count),
            "settings.clip_norm": pd.Series(["null", 1.0] * (count // 2), dtype=object),
            "settings.initializer": "he",
        }
    )
    table.loc[table["state"] == "failed", "validation_accuracy"] = None
    return table


@pytest.fixture(scope="module")
def figures():
    importances = {"lr": 0.75, "momentum": 0.25}
    return sweep_figures(table_of(), importances, [], LOGARITHMIC, "net on digits")


def lines(ax, label):
    return [line for line in ax.get_lines() if str(line.get_label()).startswith(label)]


@pytest.fixture(scope="module")
def rendered(figures):
    """The figures, drawn once."""
    return {name: render(figure) for name, figure in figures.items()}


def test_figures_are_those_that_were_reviewed(rendered):
    check_rendered("sweep", rendered)


def test_every_figure_is_there_and_no_text_leaves_it(figures, rendered):
    assert set(figures) == {"history", "parallel", "importance", "learning_rate"}
    for name, figure in figures.items():
        box = figure.get_tightbbox(rendered[name].get_renderer())
        assert min(box.x0, box.y0) >= -0.02, name
        assert (np.array(box.max) <= figure.get_size_inches() + 0.02).all(), name


def test_the_history_shows_every_trial_once_and_the_best_so_far(figures):
    table, (ax,) = table_of(), figures["history"].axes
    shown = [x for line in ax.get_lines() if line.get_marker() != "None" for x in line.get_xdata()]
    assert sorted(shown) == list(range(30))
    (best,) = lines(ax, "best so far")
    ended = table[table["state"] == "complete"]["validation_accuracy"]
    np.testing.assert_array_equal(best.get_ydata(), np.maximum.accumulate(ended))
    (far,) = lines(ax, "2 at 20.0% or less")
    assert list(far.get_xdata()) == [0, 1]
    assert set(far.get_ydata()) == {ax.get_ylim()[0]}
    assert list(lines(ax, "failed, 2")[0].get_xdata()) == [27, 29]
    assert ax.get_ylim()[0] > 0.7
    assert ax.get_ylim()[1] > ended.max()


def test_parallel_lines_cross_each_setting_that_differs_at_its_value(figures):
    table, (ax,) = table_of(), figures["parallel"].axes
    ended = table[table["state"] == "complete"]
    names = [label.get_text() for label in ax.get_xticklabels()]
    assert names == [
        "lr", "momentum", "batch_size", "hidden", "clip_norm", "validation\naccuracy",
    ]  # fmt: skip
    drawn = [line.get_ydata() for line in ax.get_lines() if len(line.get_ydata()) == 6]
    assert len(drawn) == len(ended) + 1
    (best,) = [line for line in ax.get_lines() if same_color(line.get_color(), ORANGE)]
    row = ended.loc[ended["validation_accuracy"].idxmax()]
    rates = np.log(ended["settings.lr"])
    place = (np.log(row["settings.lr"]) - rates.min()) / (rates.max() - rates.min())
    assert best.get_ydata()[0] == pytest.approx(place)
    assert best.get_ydata()[-1] == 1
    said = [text.get_text() for text in ax.texts]
    assert {"8", "16-8", "128", "null", "1.0"} <= set(said)


def test_the_scales_of_settings_have_round_numbers_that_do_not_overlap():
    rates = np.geomspace(0.00399, 0.972, 26)
    table = table_of().iloc[:26].assign(**{"settings.lr": rates})
    (ax,) = parallel_figure(table, LOGARITHMIC, "net").axes
    said = {text.get_text() for text in ax.texts}
    assert {"0.01", "0.1", "0.2", "0.4", "0.6", "0.8"} <= said
    for place in range(7):
        heights = sorted(text.xy[1] for text in ax.texts if text.xy[0] == place)
        assert all(b - a >= NEAREST for a, b in pairwise(heights))


def test_an_axis_says_where_it_stands_for_lower_accuracies_too(figures):
    def edges(ax):
        return [text.get_text() for text in ax.texts if text.get_text().startswith("≤")]

    assert edges(figures["parallel"].axes[0]) == ["≤ 85.8%"]
    (ax,) = parallel_figure(table_of().iloc[2:26], LOGARITHMIC, "net").axes
    assert edges(ax) == []


def test_the_better_a_trial_the_darker_its_line_and_the_worst_can_be_seen(figures):
    (ax,) = figures["parallel"].axes
    lines = [line for line in ax.get_lines() if len(line.get_ydata()) == 6]
    by_accuracy = sorted(
        (line.get_ydata()[-1], sum(to_rgb(line.get_color())))
        for line in lines
        if not same_color(line.get_color(), ORANGE)
    )
    light = [brightness for _, brightness in by_accuracy]
    assert light == sorted(light, reverse=True)
    assert light[0] < 2.4  # white is 3


def test_a_sweep_of_one_setting_has_no_figure_that_compares_settings():
    table = table_of()[["trial", "state", "validation_accuracy", "settings.lr"]]
    drawn = sweep_figures(table, {"lr": 1.0}, [], LOGARITHMIC, "study")
    assert set(drawn) == {"history", "learning_rate"}


def test_importance_says_each_share(figures):
    (ax,) = figures["importance"].axes
    assert [bar.get_width() for bar in ax.patches] == [0.75, 0.25]
    assert [text.get_text() for text in ax.texts] == ["75%", "25%"]


def test_learning_rates_stand_on_a_logarithmic_scale_as_points(figures):
    (ax,) = figures["learning_rate"].axes
    assert ax.get_xscale() == "log"
    assert all(line.get_linestyle() == "None" for line in ax.get_lines())


def test_a_study_of_learning_rates_is_joined_and_stands_beside_the_published_one():
    table = table_of()[["trial", "state", "validation_accuracy", "settings.lr"]].iloc[2:20]
    published = [(0.5, 0.9), (0.003, 0.4)]
    figure = sweep_figures(table, {}, published, LOGARITHMIC, "study")["learning_rate"]
    (ax,) = figure.axes
    (theirs,), (ours,) = lines(ax, "published"), lines(ax, "here")
    assert list(theirs.get_xdata()) == [0.003, 0.5]
    assert list(theirs.get_ydata()) == [0.4, 0.9]
    np.testing.assert_array_equal(ours.get_ydata(), table["validation_accuracy"])
    assert ours.get_linestyle() == "-"
    assert ax.get_ylim()[0] < 0.4
    check_rendered("sweep-published", {"learning_rate": render(figure)})


def test_a_sweep_without_learning_rates_or_with_one_trial_draws_what_it_can():
    same = table_of(lr=0.1)
    assert set(sweep_figures(same, {}, [], set(), "net")) == {"history", "parallel"}
    assert set(sweep_figures(same.iloc[5:6], {}, [], set(), "net")) == {"history"}


def test_the_same_trials_give_the_same_bytes(figures, tmp_path):
    again = sweep_figures(table_of(), {"lr": 0.75}, [], LOGARITHMIC, "net on digits")
    for name in ("history", "parallel"):
        save_png(figures[name], tmp_path / "first.png")
        save_png(again[name], tmp_path / "second.png")
        assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
