"""The page of experiments shows what differs, how much of it is chance, and sorts."""

import json
import re

import numpy as np
import pytest

from pipeline.experiments.page import difference, differing, experiments_page, table_of
from pipeline.experiments.records import Experiment

pytest_plugins = ["tests.browser"]

LABELS = np.array(list("0123456789") * 10)


def predictions(wrong):
    """Return predictions of 100 images of which the given ones are wrong."""
    predicted = LABELS.copy()
    predicted[wrong] = np.array([str((int(label) + 1) % 10) for label in LABELS[wrong]])
    return {"label": LABELS, "prediction": predicted}


def experiment(name, accuracy=0.9, parent="main", wrong=range(10), **settings):
    epochs = np.arange(1, 6)
    history = {
        "variant": np.repeat("tiny", 5), "split": np.repeat("validation", 5), "epoch": epochs,
        "accuracy": accuracy * epochs / 5, "cost": 1 / epochs,
    }  # fmt: skip
    metrics = {
        "test_accuracy": accuracy, "validation_accuracy": accuracy - 0.01, "test_loss": 0.3,
        "test_accuracy_low": accuracy - 0.05, "test_accuracy_high": accuracy + 0.04,
        "train_accuracy": 1.0, "parameters": 7960,
    }  # fmt: skip
    return Experiment(
        name, parent, "2026-01-02T03:04:05",
        {"seed": 0, "dataset": "mnist", "variants.tiny.lr": 0.1, "variants.tiny.drops": []}
        | settings,
        {"tiny": metrics, "other": metrics | {"test_accuracy": 0.8}}, history,
        {"tiny": predictions(list(wrong))},
    )  # fmt: skip


BASE = experiment("main", parent=None)
SLOWER = experiment("slower", 0.85, wrong=range(5, 20), **{"variants.tiny.lr": 0.01})
FIRST = experiment("workspace", 0.85, None, wrong=range(5, 20), **{"variants.tiny.lr": 0.01})
FOUND = [FIRST, BASE, SLOWER, experiment("seeded", 0.9, wrong=range(10), seed=1)]


def test_only_settings_that_differ_and_concern_the_variant_are_columns():
    assert differing(FOUND, "tiny") == ["seed", "variants.tiny.lr"]
    assert differing(FOUND, "other") == ["seed"]
    lists = experiment("steps", **{"variants.tiny.drops": [3, 4]})
    assert "variants.tiny.drops" in differing([*FOUND, lists], "tiny")


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("datasets.mnist.test_size", True), ("datasets.kmnist.test_size", False),
        ("sweep.variant", False), ("variants.other.lr", False), ("tracking", False),
        ("normalize", True),
    ],
)  # fmt: skip
def test_a_setting_of_what_was_not_used_is_no_column(setting, shown):
    assert (setting in differing([*FOUND, experiment("tried", **{setting: 1})], "tiny")) == shown


def test_the_interval_of_a_difference_is_that_of_paired_answers():
    change, half = difference(SLOWER, BASE, "tiny")
    assert change == pytest.approx(-0.05)
    # Only the baseline has 10 images right, only the other 5.
    assert half == pytest.approx(1.96 * np.sqrt(15 - 25 / 100) / 100)
    assert difference(BASE, BASE, "tiny") is None


def test_a_difference_without_the_same_images_has_no_interval():
    assert difference(SLOWER, BASE, "other") == (pytest.approx(0), None)
    others = experiment("others")
    others.predictions["tiny"]["label"] = LABELS[::-1]
    assert difference(others, BASE, "tiny") == (pytest.approx(0), None)


def test_a_variant_that_an_experiment_lacks_has_no_row():
    lacking = Experiment("without", "main", None, {}, {"other": {"test_accuracy": 0.5}})
    assert [row["name"] for row in table_of([BASE, lacking], BASE, "tiny")["rows"]] == ["main"]


def test_the_row_of_the_baseline_is_marked():
    rows = table_of(FOUND, BASE, "tiny")["rows"]
    assert [row["name"] for row in rows if row["is_baseline"]] == ["main"]


def test_the_page_names_the_baseline_and_what_is_left_out_and_is_the_same_every_time():
    text = experiments_page(FOUND, ["queued-one"])
    assert text == experiments_page(FOUND, ["queued-one"])
    assert "Differences are to <strong>main</strong>" in text
    assert "not shown: queued-one" in text
    assert "-5.00 ± 7.53" in text
    data = json.loads(re.search(r'id="data">(.*?)</script>', text)[1])
    counts = np.array(data["confusion"]["tiny"][1]["counts"])
    assert (counts.sum(), np.trace(counts)) == (100, 90)


def test_names_of_experiments_are_text_and_not_markup():
    text = experiments_page([BASE, experiment("<script>alert(1)</script>")], [])
    assert "<script>alert" not in text


@pytest.fixture
def opened(page, tmp_path):
    path = tmp_path / "experiments.html"
    path.write_text(experiments_page(FOUND, []), encoding="utf-8")
    page.goto(path.as_uri())
    return page


def names(page):
    return [row.split()[0] for row in page.locator("tbody th:visible").all_inner_texts()[:4]]


def test_a_heading_sorts_and_a_row_shows_its_curve_and_mistakes(opened):
    assert opened.locator("#variant").input_value() == "tiny"
    opened.get_by_role("button", name="Test, %").first.click()
    assert names(opened)[0] in ("main", "seeded")
    opened.get_by_role("button", name="Test, %").first.click()
    assert names(opened)[0] in ("workspace", "slower")
    row = opened.locator("tr[data-number='2']:visible")
    row.hover()
    assert "slower in colour" in opened.locator("#curves-caption").inner_text()
    assert opened.locator("polyline.chosen").count() == 1
    assert opened.locator("#right caption").inner_text() == "slower: 15 mistakes"
    assert opened.locator("#left caption").inner_text() == "main: 10 mistakes"


def test_the_keyboard_reaches_a_row_and_another_variant_has_its_own_table(opened):
    opened.locator("tr[data-number='3']:visible").focus()
    assert opened.locator("#right caption").inner_text() == "seeded: 10 mistakes"
    opened.locator("#variant").select_option("other")
    assert opened.locator("section:visible").get_attribute("data-variant") == "other"
    assert "are not in DVC's cache" in opened.locator("#right").inner_text()
    assert "no curves" in opened.locator("#curves").text_content()


def test_the_page_fits_a_phone(opened):
    opened.set_viewport_size({"width": 390, "height": 844})
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
