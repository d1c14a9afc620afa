"""The report in a real browser: every result, accessible to every reader, in one file."""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from playwright.sync_api import expect

from pipeline.base.files import write_json
from pipeline.base.params import Settings
from pipeline.base.tables import write_table
from pipeline.datasets.examples import Description, Examples
from pipeline.datasets.parquet import write_examples
from pipeline.metrics import mcnemar_p
from pipeline.nn.model_file import Model, load_model, save_model
from pipeline.nn.snapshot_file import save_moments
from pipeline.nn.training import make_network
from pipeline.report.charts import POINTS, history_rows, kept_epochs
from pipeline.report.page import FIGURES, ReportContent, Studies, Variant, report_page
from stages.report import main
from tests.conftest import ROOT
from tests.moments import some_moments
from tests.refusal import refused
from tests.reviewed import check_drawn
from tests.whole import fit_normalization, split_stratified

pytest_plugins = ["tests.browser"]

DIGITS = tuple("0123456789")
FILES = [file for group in FIGURES.values() for file in group]
MARKUP = """<script>window.harm = 1</script>'"</script><img src=x onerror="window.harm = 1">"""
SWEEP = {
    "variant": "wide",
    "space": "rates",
    "spaces": {
        "rates": {
            "sampler": "random", "pruner": "none", "trials": 2, "parallel": 1,
            "settings": {"lr": [0.1, 0.2]},
        }
    },
}  # fmt: skip
VARIANTS = {
    "wide": {"hidden": [64, 32], "lr": 0.1, "batch_size": "all", "epochs": 400},
    "squares": {
        "hidden": [16], "output": "sigmoid", "loss": "mean_squared_error", "lr": 1.0,
        "batch_size": 20, "epochs": 40, "test_sample": 50,
    },
    "quick": {"hidden": [], "lr": 0.5, "momentum": 0.9, "batch_size": 32, "epochs": 3},
}  # fmt: skip
# Train, validation and test accuracy, test loss.
SCORES = {
    "wide": (1.0, 0.91, 0.93, 0.25), "squares": (0.99, 0.84, 0.85, 0.02),
    "quick": (1.0, 0.92, 0.9, 0.31),
}  # fmt: skip


def figure(seed=0):
    """Return a PNG like a figure: white paper, a heat map in many shades, some black."""
    rng = np.random.default_rng(seed)
    pixels = np.full((700, 1300, 3), 255, np.uint8)
    pixels[100:280, 60:460] = np.repeat(rng.integers(0, 256, (180, 100, 3)), 4, axis=1)
    pixels[400:402] = 0
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def params(**others):
    known = {
        "source": "embedded", "class_names": list(DIGITS), "validation_size": 40, "test_size": 40,
        "pictures": "digit", "checksums": {},
    }  # fmt: skip
    return {
        "seed": 7, "device": "cpu", "lr": None, "epochs": None, "batch_size": None,
        "dataset": "mnist-5k", "normalize": "standardize", "datasets": {"mnist-5k": known},
        "variants": VARIANTS, "tracking": "none", "sweep": SWEEP,
    } | others  # fmt: skip


def metrics(scores, variant):
    train, validation, test, loss = scores
    sample = {"test_sample_accuracy": 0.86, "test_sample_images": 50} if variant.test_sample else {}
    return {
        "train_accuracy": train, "validation_accuracy": validation, "test_accuracy": test,
        "test_accuracy_low": test - 0.02, "test_accuracy_high": test + 0.02, "test_loss": loss,
        "test_precision": test, "test_recall": test, "test_f1": test, "parameters": 12345,
        "train_images": 120, "test_images": 1000,
    } | sample  # fmt: skip


def history(variants):
    rows = [
        (name, split, epoch, 2.4 / epoch + 0.1 * late, 1 - 0.9 / epoch - 0.05 * late)
        for name, variant in variants.items()
        for late, split in enumerate(("train", "validation"))
        for epoch in range(1, variant.epochs + 1)
    ]
    columns = ("variant", "split", "epoch", "cost", "accuracy")
    return dict(zip(columns, map(np.array, zip(*rows, strict=True)), strict=True))


def predictions(class_names, test, seed=0):
    rng = np.random.default_rng(seed)
    labels = test.labels
    predicted = np.where(rng.random(len(labels)) < 0.8, labels, rng.integers(0, 10, len(labels)))
    names = np.array(class_names)
    return {
        "label": names[labels],
        "prediction": names[predicted],
        "confidence": rng.random(len(labels)).round(6),
    }


STUDIES = Studies(
    repeats=[
        {"variant": "quick", "mean": 0.9, "low": 0.88, "high": 0.92,
         "validation_accuracy": {"0": 0.89, "1": 0.91}},
    ],
    pairs=[
        {"variants": ["wide", "quick"], "difference": 0.02, "low": -0.01, "high": 0.05, "seeds": 2,
         "pairs": {"0": [0.92, 0.89], "1": [0.92, 0.91]}},
    ],
    folds=[
        {"variant": "wide", "mean": 0.9, "standard_deviation": 0.01, "folds": 5, "pooled": 0.9,
         "images": 160},
    ],
    sweeps=[
        {"variant": "wide", "space": "rates", "settings": {"lr": 0.2},
         "trials": [
             {"trial": n, "state": "complete", "validation_accuracy": 0.8 + n / 100,
              "settings.lr": 0.1 * (n + 1)}
             for n in range(12)
         ]},
        {"variant": "quick", "space": "momenta", "settings": {"momentum": 0.5},
         "trials": [
             {"trial": n, "state": "complete", "validation_accuracy": 0.9 - n / 100,
              "settings.momentum": 0.1 * n}
             for n in range(5)
         ]},
    ],
)  # fmt: skip


def splits(few_digits, dataset="mnist-5k", class_names=DIGITS):
    """Split 200 real digits into 120, 40 and 40."""
    rest, test = split_stratified(few_digits, 40, 0, "test_size")
    train, validation = split_stratified(rest, 40, 0, "validation_size")
    normalization = fit_normalization(train.images, "standardize")
    description = Description(dataset, tuple(class_names), "a hand that wrote them")
    return {
        name: Examples(normalization.apply(part.images), part.labels, description, normalization)
        for name, part in (("train", train), ("validation", validation), ("test", test))
    }


@pytest.fixture(scope="module")
def content(few_digits):
    chosen = Settings.model_validate(params())
    parts = splits(few_digits)
    return ReportContent(
        chosen,
        parts,
        history(chosen.variants),
        {
            name: Variant(
                chosen.variant(name),
                metrics(SCORES[name], chosen.variant(name)),
                predictions(DIGITS, parts["test"], seed),
                {file: figure() for file in (FILES if name == "wide" else ["forward"])},
                {"handwritten-digits": "0.1.0", "numpy": "2.4.6"},
                some_moments(parts["validation"], chosen.variant(name), seed),
            )
            for seed, name in enumerate(VARIANTS)
        },
        {name: f"{number}" * 64 for number, name in enumerate(parts)},
        STUDIES,
    )


@pytest.fixture(scope="module")
def report(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(report_page(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def plain(browser, report):
    """The report without JavaScript: everything but the charts can be read."""
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    yield page
    context.close()


def show(page, path, width=1280, scheme="light"):
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.goto(path.as_uri())


def chart(page, name):
    """Scroll to a chart and return it as soon as it is drawn."""
    place = page.locator(f"[id='{name}']")
    place.scroll_into_view_if_needed()
    place.locator("svg").wait_for()
    return place


def names_of_charts(page):
    return page.locator(".chart").evaluate_all("all => all.map(place => place.id)")


def point(page, name, across, down):
    """Point at a place in a chart and return the text of the tooltip."""
    place = chart(page, name).locator("svg").bounding_box()
    for step in (0, 2):
        page.mouse.move(
            place["x"] + across * place["width"] + step, place["y"] + down * place["height"]
        )
    return tooltip(page)


def tooltip(page):
    shown = page.locator("#vg-tooltip-element.visible")
    shown.wait_for()
    return shown.inner_text()


def column(page, heading):
    """Return a column of the table of results by variant, as a screen reader reads it."""
    return page.evaluate(
        """heading => {
            const [above, below] = document.querySelectorAll(".results thead tr");
            const names = [];
            for (const cell of above.cells)
                if (cell.scope === "colgroup") names.push(...Array(cell.colSpan).fill(null));
                else names.push(cell.innerText);
            const rest = [...below.cells].map(cell => cell.innerText);
            const place = names.map(name => name ?? rest.shift()).indexOf(heading);
            return Object.fromEntries(
                [...document.querySelectorAll(".results tbody tr")].map(row => [
                    row.cells[0].innerText,
                    row.cells[place].textContent.replace("★", "").trim(),
                ])
            );
        }""",
        heading,
    )


def test_the_first_screen_says_which_network_is_best_by_how_much_and_what_it_gets_wrong(
    page, report, content
):
    show(page, report)
    said = " ".join(page.locator("header.page").inner_text().split())
    # Validation images decide: quick has 92 %, wide 91 %.
    assert "quick is the best on validation images. It reads 90.00 % of 1,000 test images" in said
    assert "That is 3.00 percentage points less than wide, the second" in said
    right = {
        name: content.variants[name].predictions["label"]
        == content.variants[name].predictions["prediction"]
        for name in ("quick", "wide")
    }
    only = [
        int((right["quick"] & ~right["wide"]).sum()), int((right["wide"] & ~right["quick"]).sum()),
    ]  # fmt: skip
    assert f"{only[0]} images only quick reads right, {only[1]} only wide." in said
    assert f"p = {mcnemar_p(*only):.2g})" in said
    assert f"It gets {(~right['quick']).sum()} wrong, most often" in said
    shown = page.locator(".mistakes li").all()
    table = content.variants["quick"].predictions
    wrong = np.flatnonzero(~right["quick"])
    rows = wrong[np.argsort(-table["confidence"][wrong], kind="stable")]
    assert len(shown) == min(12, len(rows))
    test = content.splits["test"]
    for row, item in zip(rows, shown, strict=False):
        text = f"is {table['label'][row]} read as {table['prediction'][row]}"
        assert " ".join(item.inner_text().split()).startswith(text)
        uri = item.locator("img").get_attribute("src")
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
        brightness = test.normalization.undo(test.inputs[row]).reshape(28, 28)
        assert np.abs(picture[..., 0] - 255 * brightness).max() < 0.51
    assert page.locator(".mistakes").bounding_box()["y"] < 900


def test_predictions_of_other_images_than_the_test_part_are_refused(content):
    test = content.splits["test"]
    quick = content.variants["quick"].predictions
    other = quick | {"label": np.roll(quick["label"], 1)}
    stale = content.variants | {"quick": replace(content.variants["quick"], predictions=other)}
    for wrong in (
        replace(content, splits=content.splits | {"test": test.first(3)}),
        replace(content, variants=stale),
    ):
        with refused(match="the predictions of quick are of other images than"):
            report_page(wrong)


def test_everything_is_open_and_nothing_has_to_be_unfolded(plain):
    assert plain.locator("details").count() == 0
    assert plain.locator(".variant img.plot").count() == len(FILES) + 2


def test_sweeps_and_repeats_are_shown_where_they_exist(page, report, content):
    show(page, report)
    section = page.locator("#studies")
    assert "wide minus quick: +2.00 percentage points (-1.00 to +5.00)" in section.inner_text()
    assert "may be luck" in section.inner_text()
    assert "mean of 5 folds 90.00 %" in section.inner_text()
    table = section.locator("table tbody tr")
    assert table.count() == 8 + 5
    assert table.first.inner_text().split() == ["11", "91.00", "1.2"]
    assert chart(page, "sweep-0").locator(".mark-symbol path").count() == 12
    without = report_page(replace(content, studies=Studies()))
    assert 'id="studies"' not in without
    assert 'href="#studies"' not in without


def test_a_figure_follows_the_dark_page(page, report):
    show(page, report, scheme="dark")
    plot = page.locator("img.plot").first
    plot.scroll_into_view_if_needed()
    plot.evaluate("image => image.decode()")
    shot = np.asarray(Image.open(io.BytesIO(plot.screenshot())).convert("RGB"))
    paper = np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))[500, 2]
    assert np.abs(shot[30, 30].astype(int) - paper).max() <= 2  # white paper
    assert shot.max() > 200  # black ink


def test_on_a_phone_the_accuracy_is_seen_without_scrolling_the_table(page, report):
    show(page, report, 390)
    for row in page.locator(".results").first.locator("tbody tr").all():
        box = row.locator("td").first.bounding_box()
        assert box["x"] + box["width"] <= 390


def test_31_variants_stay_readable(page, content, tmp_path):
    names = [f"net-{number:02}" for number in range(31)]
    columns = content.history
    one = columns["variant"] == "quick"
    many = {
        name: np.concatenate([values[one]] * 31) for name, values in columns.items()
    } | {"variant": np.repeat(names, one.sum())}  # fmt: skip
    settings = Settings.model_validate(
        params(
            variants=dict.fromkeys(names, VARIANTS["quick"]), sweep=SWEEP | {"variant": names[0]}
        )
    )
    quick = content.variants["quick"]
    variants = {
        name: replace(quick, metrics=quick.metrics | {"validation_accuracy": 0.5 + number / 100})
        for number, name in enumerate(names)
    }
    path = tmp_path / "index.html"
    path.write_text(
        report_page(
            replace(content, settings=settings, history=many, variants=variants, studies=Studies())
        )
    )
    show(page, path)
    assert "net-30 is the best" in page.locator("header.page").inner_text()
    lines = chart(page, "together-accuracy").locator(".mark-line path")
    assert lines.count() == 31
    faint = lines.evaluate_all(
        "all => all.filter(line => Number(line.getAttribute('opacity')) < 0.5).length"
    )
    assert faint == 31 - 8
    looks = lines.evaluate_all(
        """all => all.map(
            line => ["stroke", "stroke-dasharray"].map(name => line.getAttribute(name)).join()
        )"""
    )
    assert len(set(looks)) == 31
    assert page.evaluate("document.documentElement.scrollWidth") == 1280


def test_every_variant_has_a_row_and_a_section_with_all_settings(plain, content):
    assert plain.locator(".results tbody th").all_inner_texts() == list(VARIANTS)
    assert plain.locator(".variant h3").all_inner_texts() == list(VARIANTS)
    for name, variant in content.variants.items():
        section = plain.locator(f"#variant-{name}")
        assert section.locator(".settings tbody tr").count() == len(
            variant.settings.model_fields_set
        )
    assert column(plain, "Layers")["wide"] == "784-64-32-10"


def test_the_setup_lists_data_settings_and_versions(plain):
    shown = plain.locator("#run").inner_text()
    for fact in ("mnist-5k", "a hand that wrote them", "120 training, 40 validation, 40 test",
                 "standardize", "7", "0.1.0", "2.4.6", "0" * 64, "2" * 64):  # fmt: skip
        assert fact in shown
    assert "all variants" not in shown


def test_settings_that_override_those_of_every_variant_are_marked(content):
    page = report_page(replace(content, settings=Settings.model_validate(params(lr=0.0123456789))))
    assert "<dt>Learning rate of all variants</dt><dd>0.0123456789</dd>" in page
    assert page.count("(set for all variants)") == len(VARIANTS)


def test_the_best_of_each_column_is_marked_in_words(plain):
    assert column(plain, "Training") == {
        "wide": "100.00 best", "squares": "99.00", "quick": "100.00 best",
    }  # fmt: skip
    assert column(plain, "Validation")["quick"] == "92.00 best"
    for heading in ("Test", "Precision", "Recall", "F1"):
        assert column(plain, heading)["wide"] == "93.00 best"


def test_losses_are_compared_only_with_losses_of_the_same_unit(plain):
    assert column(plain, "Test loss") == {
        "wide": "0.25 nats best", "squares": "0.02 MSE", "quick": "0.31 nats",
    }  # fmt: skip


def test_the_accuracy_on_the_first_test_images_is_shown_if_there_is_one(plain):
    assert column(plain, "First test images") == {
        "wide": "–", "squares": "86.00 (50 images)", "quick": "–",
    }  # fmt: skip


def test_a_single_variant_is_not_marked_as_best(content, report):
    alone = replace(content, variants={"wide": content.variants["wide"]})
    assert ">best<" in report.read_text()
    assert ">best<" not in report_page(alone)


def test_the_page_is_the_one_that_was_reviewed(report):
    check_drawn("report", {"page": report.read_text(encoding="utf-8")})


def test_the_same_content_gives_the_same_bytes(content, report):
    assert report_page(replace(content, history=content.history.copy())) == report.read_text()


def test_names_are_shown_as_text_and_never_executed(page, content, few_digits, tmp_path):
    names = (MARKUP, *DIGITS[1:])
    variants = content.history["variant"].tolist()
    renamed = np.array([MARKUP if name == "wide" else name for name in variants])
    told = predictions(names, content.splits["test"])
    strange = replace(
        content,
        splits=splits(few_digits, MARKUP, names),
        history=content.history | {"variant": renamed},
        variants={
            MARKUP: replace(content.variants["wide"], predictions=told),
            "quick": replace(content.variants["quick"], predictions=told),
        },
    )
    path = tmp_path / "index.html"
    path.write_text(report_page(strange), encoding="utf-8")
    show(page, path)
    expect(page.locator("h1")).to_contain_text(MARKUP)
    assert page.locator(".results tbody th").all_inner_texts() == [MARKUP, "quick"]
    assert page.locator(".samples tbody th").first.inner_text() == MARKUP
    chart(page, "accuracies").locator(".mark-symbol path").first.hover()
    assert MARKUP in tooltip(page)
    cell = chart(page, "confusion-quick").locator(".mark-rect path[aria-label*=script]").first
    cell.hover(force=True)
    assert MARKUP in tooltip(page)
    assert MARKUP in point(page, "together-accuracy", 0.9, 0.3)
    assert page.evaluate("window.harm") is None


def test_figures_are_embedded_byte_for_byte(content):
    large = {file: figure(seed) for seed, file in enumerate(FILES)}
    many = {name: replace(variant, figures=large) for name, variant in content.variants.items()}
    page = report_page(replace(content, variants=many))
    for png in large.values():
        assert page.count(base64.b64encode(png).decode()) == len(many)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_the_report_opens_from_disk_and_fits_the_screen(page, report, width, scheme):
    show(page, report, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    for name in names_of_charts(page):
        assert chart(page, name).locator("svg").bounding_box()["width"] <= width


def test_charts_are_drawn_when_they_come_near_or_before_the_page_is_printed(page, report):
    show(page, report)
    drawn = page.locator(".chart svg")
    drawn.first.wait_for()
    below = page.locator(".chart").last
    height = below.bounding_box()["height"]
    every = len(names_of_charts(page))
    assert height > 200  # its place is kept, so that links lead where they should
    assert drawn.count() < every
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(drawn).to_have_count(every)
    assert below.bounding_box()["height"] >= height


def test_the_report_cannot_request_anything_from_the_network(plain):
    policy = plain.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content")
    assert "default-src 'none'" in policy
    assert "eval" not in policy


def test_pointing_at_a_curve_shows_variant_epoch_and_values(page, report, content):
    show(page, report)
    shown = point(page, "together-accuracy", 0.97, 0.3)
    table = content.history
    epoch = int(re.search(r"epoch\s+(\d+)", shown).group(1))
    assert re.search(r"variant\s+wide", shown)
    for split, name in (("train", "training"), ("validation", "validation")):
        row = (table["variant"] == "wide") & (table["epoch"] == epoch) & (table["split"] == split)
        assert re.search(rf"{name} accuracy\s+{table['accuracy'][row][0]:.2%}", shown)
    shown = point(page, "cost-squares", 0.6, 0.5)
    assert re.search(r"variant\s+squares", shown)
    assert re.search(r"validation mean squared error\s+0\.\d+", shown)


def test_pointing_at_the_confusion_matrix_shows_counts_even_of_pairs_that_never_occur(
    page, report, content
):
    show(page, report)
    assert chart(page, "confusion-wide").locator(".mark-rect path").count() == 100
    table = content.variants["wide"].predictions
    pairs = Counter(zip(table["label"], table["prediction"], strict=True))
    for true, predicted in (("3", "3"), ("0", "1")):
        page.locator(
            f"#confusion-wide .mark-rect path[aria-label*=' true class: {true}; "
            f"predicted class: {predicted};']"
        ).hover(force=True)
        count = pairs.get((true, predicted), 0)
        expected = rf"{true}\s+predicted class\s+{predicted}\s+images\s+{count}\s"
        assert re.search(expected, tooltip(page))


def test_training_curves_can_be_chosen(page, report):
    show(page, report)
    line = chart(page, "together-accuracy").locator(".mark-line path").first
    before = line.get_attribute("d")
    page.locator("#together-accuracy").get_by_role("radio", name="training").check()
    page.wait_for_function(
        "before => document.querySelector('#together-accuracy svg .mark-line path')"
        ".getAttribute('d') !== before",
        arg=before,
    )


def test_every_table_has_a_caption_and_every_heading_a_scope(plain):
    assert plain.locator("table").count() == plain.locator("table > caption").count() > 3
    assert plain.locator("th:not([scope])").count() == 0
    assert plain.locator("tbody tr:not(:has(th[scope=row]))").count() == 0


def test_every_picture_and_chart_has_a_description(page, report):
    show(page, report)
    alts = page.locator("img").evaluate_all("all => all.map(image => image.alt)")
    others = page.locator(".mistakes img, #learning img").count()
    assert len(alts) == len(FILES) + 2 + 3 * len(DIGITS) + others
    assert all(alts)
    for name in names_of_charts(page):
        assert chart(page, name).get_attribute("aria-label")


def test_headings_are_in_order(plain):
    levels = plain.locator("h1, h2, h3, h4, h5, h6").evaluate_all(
        "all => all.map(heading => Number(heading.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_link_within_the_page_leads_somewhere(plain):
    missing = plain.locator("a[href^='#']").evaluate_all(
        "all => all.map(link => link.hash.slice(1)).filter(id => !document.getElementById(id))"
    )
    assert missing == []
    assert plain.locator("a[href='draw.html']").count() >= 1


def luminance(colour):
    """WCAG's relative luminance of `#rrggbb`."""
    parts = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_enough_contrast_in_light_and_dark_mode(page, report, scheme):
    show(page, report, scheme=scheme)

    def colour(name):
        return page.evaluate(
            "name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()",
            f"--{name}",
        )

    paper = luminance(colour("paper"))
    assert (paper < 0.5) == (scheme == "dark")
    for name in ("ink", "muted", "link", "mark"):
        low, high = sorted((paper, luminance(colour(name))))
        assert (high + 0.05) / (low + 0.05) >= 4.5
    label = chart(page, "counts").locator(".role-axis-label text").first
    assert label.evaluate("text => getComputedStyle(text).fill") == page.evaluate(
        "getComputedStyle(document.querySelector('figcaption')).color"
    )


def test_known_figures_are_in_reading_order_and_others_are_sorted_by_name(content):
    figures = {
        "my_own": figure(), "norms": figure(), "architecture": figure(), "curves": figure(),
    }  # fmt: skip
    variant = replace(content.variants["wide"], figures=figures)
    page = report_page(replace(content, variants={"wide": variant}))
    titles = re.findall(r"<h4>(.*?)</h4>", page)[-2:]
    assert titles == ["What it is made of, and how it changed", "Other figures"]
    assert page.index("The network, layer by layer.") < page.index(">My own</figcaption>")


def test_a_figure_that_is_not_an_image_is_an_error_that_names_it(content):
    variant = replace(content.variants["wide"], figures={"norms": b"nothing"})
    with refused(match="norms"):
        report_page(replace(content, variants={"wide": variant}))


def test_samples_are_the_first_images_of_each_class(content, report, few_digits):
    uris = re.findall(
        r'<img src="data:image/png;base64,([^"]+)"[^>]*alt="(\w+) images of class (\d)"',
        report.read_text(),
    )
    pictures = {
        (split, int(digit)): np.asarray(Image.open(io.BytesIO(base64.b64decode(uri))))
        for uri, split, digit in uris
    }
    assert len(pictures) == 30
    train = content.splits["train"]
    brightness = train.normalization.undo(train.inputs[train.labels == 3][0]).reshape(28, 28)
    shown = pictures["Training", 3][:, :28, 0]
    assert np.abs(shown - 255 * brightness).max() < 0.51
    assert any((shown == image).all() for image in few_digits.images)


def test_images_are_counted_per_class_and_split(plain, content):
    rows = plain.locator(".samples tbody tr").all()
    for digit, row in enumerate(rows):
        assert row.locator(".count").all_inner_texts() == [
            str((part.labels == digit).sum()) for part in content.splits.values()
        ]


@given(st.integers(1, 5000))
def test_a_thinned_curve_keeps_its_ends_and_its_order(count):
    kept = kept_epochs(count)
    assert (kept[0], kept[-1]) == (0, count - 1)
    assert len(kept) <= POINTS
    assert kept == sorted(set(kept))


def test_the_points_of_a_curve_are_those_of_the_history(content):
    rows = history_rows(content.history)
    assert [row["epoch"] for row in rows if row["variant"] == "quick"] == [1, 2, 3]
    *keys, costs, accuracies = (
        content.history[name].tolist() for name in ("variant", "epoch", "split", "cost", "accuracy")
    )
    table = dict(zip(zip(*keys, strict=True), zip(costs, accuracies, strict=True), strict=True))
    for row in rows:
        for split in ("train", "validation"):
            expected = table[row["variant"], row["epoch"], split]
            assert (row[f"{split}_cost"], row[f"{split}_accuracy"]) == expected


@pytest.fixture
def results(tmp_path, content, monkeypatch):
    """A working directory with everything that the stage reads."""
    chosen = content.settings
    (tmp_path / "params.yaml").write_text(json.dumps(params()))
    for name, examples in content.splits.items():
        write_examples(tmp_path / f"data/splits/{name}.parquet", examples)
    write_json(tmp_path / "metrics/repeat/quick.json", {"dataset": "mnist-5k"} | STUDIES.repeats[0])
    write_json(tmp_path / "metrics/repeat/quick.vs.wide.json", {"dataset": "other"})
    for name in VARIANTS:
        network, _ = make_network(chosen.variant(name), 10, 0)
        model = Model(name, network, content.splits["train"].normalization, DIGITS, {})
        save_model(tmp_path / f"models/{name}.npz", model)
        (tmp_path / f"plots/figures/{name}").mkdir(parents=True)
        (tmp_path / f"plots/figures/{name}/forward.png").write_bytes(figure())
        write_table(tmp_path / f"plots/predictions/{name}.csv", content.variants[name].predictions)
        save_moments(tmp_path / f"plots/snapshots/{name}.npz", content.variants[name].moments)
    write_table(tmp_path / "plots/history.csv", content.history)
    summary = {name: dict(variant.metrics) for name, variant in content.variants.items()}
    write_json(tmp_path / "metrics/summary.json", summary | {"gone": summary["wide"]})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.long
def test_the_stage_writes_the_same_pages_of_the_variants_in_params_in_every_run(results):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "1"}
    subprocess.run([sys.executable, "-m", "stages.report"], env=environment, check=True)
    page = (results / "report/index.html").read_text()
    assert page.count('class="variant"') == len(VARIANTS)
    assert "gone" not in page.split("</main>")[0]
    assert "<h3>Repeats</h3>" in page
    assert "<h3>Better or lucky</h3>" not in page  # it is of another dataset
    content = (results / "data/splits/test.parquet").read_bytes()
    assert hashlib.sha256(content).hexdigest() in page
    assert "Draw" in (results / "report/draw.html").read_text()
    result = CliRunner().invoke(main)
    assert result.exit_code == 0
    assert (results / "report/index.html").read_text() == page


@pytest.mark.parametrize("best", VARIANTS)
def test_the_page_to_draw_on_begins_with_the_network_that_is_best_on_validation_images(
    results, best
):
    summary = json.loads((results / "metrics/summary.json").read_text())
    summary[best]["validation_accuracy"] = 0.99
    summary["gone"]["validation_accuracy"] = 1.0
    write_json(results / "metrics/summary.json", summary)
    assert CliRunner().invoke(main).exit_code == 0
    drawn = (results / "report/draw.html").read_text()
    shown = re.findall(r'name="variant" value="(\w+)"( checked)?', drawn)
    others = [(name, "") for name in sorted(VARIANTS) if name != best]
    assert shown == [(best, " checked"), *others]


@pytest.mark.parametrize(
    "missing",
    ["metrics/summary.json", "plots/history.csv", "plots/predictions/wide.csv",
     "plots/figures/wide/forward.png", "plots/snapshots/wide.npz", "models/wide.npz",
     "data/splits/test.parquet"],
)  # fmt: skip
def test_a_missing_file_is_an_error_of_one_line_and_no_page_is_written(results, missing):
    (results / missing).unlink()
    result = CliRunner().invoke(main)
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: [^\n]+\n", result.stderr)
    assert str(Path(missing).parent) in result.stderr
    assert not (results / "report").exists()


def test_a_variant_without_metrics_is_an_error_of_one_line(results):
    write_json(results / "metrics/summary.json", {})
    result = CliRunner().invoke(main)
    assert result.stderr == (
        "Error: metrics/summary.json has no quick; `dvc repro` brings it up to date\n"
    )


def test_a_model_of_other_classes_is_an_error_of_one_line(results):
    path = results / "models/wide.npz"
    model = load_model(path)
    save_model(path, replace(model, class_names=(*DIGITS[:-1], "ten")))
    result = CliRunner().invoke(main)
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: model wide knows the classes 0, [^\n]+\n", result.stderr)
    assert not (results / "report").exists()


def shown_moment(page):
    """Return what the section of moments shows, as text and as pixels."""
    return page.evaluate(
        """() => ({
            told: document.getElementById("learning-moment").innerText,
            value: document.getElementById("learning-slider").getAttribute("aria-valuetext"),
            slider: Number(document.getElementById("learning-slider").value),
            read: [...document.querySelectorAll("#learning-images li")].map((item) => [
                item.querySelector(".said").firstChild.textContent,
                item.querySelector(".small").textContent, item.classList.contains("wrong"),
            ]),
            confusion: [...document.querySelectorAll("#learning-confusion tbody tr")].map(
                (row) => [...row.querySelectorAll("td")].map((cell) => Number(cell.textContent))
            ),
            dots: [...document.querySelectorAll("#learning-curves circle")].map((dot) => [
                Number(dot.getAttribute("cx")), dot.style.display,
            ]),
            canvases: [...document.querySelectorAll("#learning canvas")].map((canvas) => {
                const { data } = canvas.getContext("2d").getImageData(
                    0, 0, canvas.width, canvas.height);
                return Array.from({ length: data.length / 4 }, (_, i) => {
                    const size = (data[4 * i + 3] / 255) ** (1 / 0.8);
                    return data[4 * i] > data[4 * i + 2] ? size : -size;
                });
            }),
        })"""
    )


def assert_shows(page, content, variant, number):
    """Compare the section with a moment of a variant."""
    moments, shown = content.variants[variant].moments, shown_moment(page)
    epoch, accuracy = int(moments.epochs[number]), f"{moments.accuracies[number]:.2%}"
    accuracy = accuracy.replace("%", " %")
    when = f"after epoch {epoch}" if epoch else "before training"
    assert shown["slider"] == number
    assert shown["value"] == f"{when}, {accuracy} right"
    assert shown["told"] == f"{variant} {when}: {accuracy} of 40 validation images right"
    assert shown["confusion"] == moments.confusion[number].tolist()
    predicted = moments.probabilities[number].argmax(axis=1)
    assert shown["read"] == [
        [str(said), f"{round(100 * float(row.max()))} %", bool(said != label)]
        for said, row, label in zip(
            predicted, moments.probabilities[number], moments.labels, strict=True
        )
    ]
    places, displays = zip(*shown["dots"], strict=True)
    assert places[0] == places[1]
    assert displays == (("", "none") if epoch == 0 else ("", ""))
    filters = moments.filters[:, :12]
    expected = filters[number] / np.abs(filters).max(axis=(0, 2))[:, np.newaxis]
    count = min(12, len(moments.neurons))
    drawn = np.array(shown["canvases"][:count])
    assert np.abs(drawn - expected).max() < 2 / 31
    if moments.activations.shape[2]:
        active = np.array(shown["canvases"][count]) - moments.activations[number].ravel() / 127
        assert np.abs(active).max() < 1 / 31
    else:
        assert len(shown["canvases"]) == count


def test_the_section_of_moments_shows_each_moment_of_each_network(page, content, report):
    show(page, report)
    slider = page.locator("#learning-slider")
    assert page.locator("#learning-variant").input_value() == "quick"  # the best
    for variant in VARIANTS:
        page.locator("#learning-variant").select_option(variant)
        moments = content.variants[variant].moments
        assert_shows(page, content, variant, moments.last)
        assert page.locator("#learning-hidden").is_visible() == (variant != "quick")
        for number in (0, 1, len(moments) - 1):
            slider.fill(str(number))
            assert_shows(page, content, variant, number)


def test_moments_are_chosen_with_the_keyboard(page, content, report):
    show(page, report)
    page.locator("#learning-variant").focus()
    page.keyboard.press("ArrowUp")
    assert_shows(page, content, "squares", content.variants["squares"].moments.last)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "learning-play"
    page.keyboard.press("Tab")
    for key, number in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        assert_shows(page, content, "squares", number)


def test_play_goes_from_the_first_moment_to_the_last_and_stops(clocked_page, content, report):
    show(clocked_page, report)
    clocked_page.clock.pause_at(3_600_000)
    last = len(content.variants["quick"].moments) - 1
    play = clocked_page.locator("#learning-play")
    play.click()  # from the last moment it begins anew
    assert_shows(clocked_page, content, "quick", 0)
    assert play.inner_text() == "Pause"
    clocked_page.clock.run_for(500)
    assert_shows(clocked_page, content, "quick", 1)
    play.click()
    clocked_page.clock.run_for(5000)
    assert_shows(clocked_page, content, "quick", 1)
    play.click()
    clocked_page.clock.run_for(5000)
    assert_shows(clocked_page, content, "quick", last)
    assert play.inner_text() == "Play"


def test_nothing_moves_by_itself_for_readers_who_asked_for_that(clocked_page, content, report):
    clocked_page.emulate_media(reduced_motion="reduce")
    show(clocked_page, report)
    button = clocked_page.locator("#learning-play")
    assert button.inner_text() == "Next"
    for number in (0, 1, 2):
        button.click()
        clocked_page.clock.run_for(5000)
        assert_shows(clocked_page, content, "quick", number)


def test_what_training_has_changed_is_shown_without_the_initial_weights(page, content, report):
    show(page, report)
    page.locator("#learning-variant").select_option("wide")
    page.get_by_label("what training has changed").check()
    moments = content.variants["wide"].moments
    drawn = np.array(shown_moment(page)["canvases"][:12])
    expected = (
        moments.changes[moments.last, :12]
        / np.abs(moments.changes[:, :12].astype(float)).max(axis=(0, 2))[:, np.newaxis]
    )
    assert np.abs(drawn - expected).max() < 1 / 31
    page.locator("#learning-slider").fill("0")
    assert np.abs(shown_moment(page)["canvases"][:12]).max() == 0


def test_the_link_of_a_variant_shows_its_moments(page, content, report):
    show(page, report)
    page.get_by_role("link", name="Watch squares learn").click()
    expect(page.locator("#learning-variant")).to_have_value("squares")
    assert_shows(page, content, "squares", content.variants["squares"].moments.last)


def test_the_epoch_kept_is_shown_without_javascript(plain, content):
    moments = content.variants["quick"].moments
    told = plain.locator("#learning-moment").inner_text()
    assert told == (
        f"quick after epoch {moments.kept}: {100 * moments.accuracies[moments.last]:.2f} % "
        "of 40 validation images right"
    )
    for row, counts in zip(
        plain.locator("#learning-confusion tbody tr").all(),
        moments.confusion[moments.last].tolist(), strict=True,
    ):  # fmt: skip
        assert [int(text or 0) for text in row.locator("td").all_inner_texts()] == counts
    assert plain.locator("#learning-filters img").is_visible()
    assert not plain.locator("#learning-slider").is_visible()


def test_snapshots_of_other_images_are_an_error_of_one_line(results, content):
    moments = content.variants["wide"].moments
    save_moments(
        results / "plots/snapshots/wide.npz", replace(moments, images=255 - moments.images)
    )
    result = CliRunner().invoke(main)
    assert result.exit_code == 1
    assert re.fullmatch(r"Error: the snapshots of \w+ are of other images; [^\n]+\n", result.stderr)
