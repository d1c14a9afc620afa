"""Results: counts, checks, tables and the chart."""

import copy

import numpy as np
import pytest
from PIL import Image

from benchmarks.chart import draw_chart
from benchmarks.contest import check_equal_work, summary
from benchmarks.flops import epoch_flops, floor_flops
from benchmarks.measure import highest_peak
from benchmarks.table import BEGIN, END, milliseconds, put_in_place, render
from pipeline.base.errors import PipelineError
from tests.refusal import refused


def times(median):
    return {"median": median, "min": median * 0.9, "max": median * 1.1}


def entry(median):
    return {
        "epoch_seconds": times(median),
        "without_validation_seconds": times(median / 2),
        "gflops": 8 / median,
        "without_validation_gflops": 9 / median,
        "warm_up_seconds": 1.0,
    }


RESULTS = {
    "machine": {
        "processor": "A processor", "cores": 2, "memory_gib": 8.0, "system": "Linux x86_64",
        "load_before": 0.0,
    },
    "libraries": {
        "ours": ["Python 3.11.7", "NumPy 2.4.6", "openblas 0.3 Haswell (libscipy), threads: 2"],
        "scikit-learn": ["Python 3.11.7", "NumPy 2.4.6", "scikit-learn 1.9.1"],
    },
    "data": {"dataset": "mnist", "source": "MNIST", "images": 55000, "validation_images": 5000},
    "method": {"contestants": ["ours", "scikit-learn", "numpy-loop"], "rounds": 5, "threads": 2},
    "peak_gflops": {"one_core": 40.0, "all_cores": 64.0},
    "epochs": {
        "full_batch": {
            "images": 55000, "flops": 10**10, "floor_seconds": 0.04,
            "contestants": {
                "ours": entry(0.1), "scikit-learn": {"cannot": "does not clip"},
                "numpy-loop": entry(1.25),
            },
        },
        "tiny": {
            "images": 55000, "flops": 10**9, "floor_seconds": 0.0025,
            "contestants": {
                "ours": entry(0.01), "scikit-learn": entry(0.005), "numpy-loop": entry(0.02),
            },
        },
    },
    "whole": {
        "full_batch": {"epochs": 5, "ours": {"seconds": times(3.0), "peak_mib": times(500)}},
        "tiny": {"epochs": 5, "ours": {"seconds": times(1.0), "peak_mib": times(400)}},
    },
    "doubling": {
        what: [{"hidden": [256], "images": 100, "epoch_seconds": times(0.1), "gflops": 90.0}]
        for what in ("images", "width", "depth")
    },
}  # fmt: skip


def test_operations_are_counted_layer_by_layer():
    # Both layers have a forward product and a weight gradient, only the second an input gradient.
    one_image = 2 * ((784 * 10 + 10 * 10) * 2 + 10 * 10)
    assert epoch_flops([784, 10, 10], 1, 0) == one_image
    assert epoch_flops([784, 10, 10], 50, 0) == 50 * one_image
    assert epoch_flops([784, 10, 10], 50, 7) == 50 * one_image + 7 * 2 * (784 * 10 + 10 * 10)


def test_the_floor_leaves_out_only_products_of_zero_pixels_in_the_first_layer():
    sizes, rng = [784, 10, 7, 5], np.random.default_rng(0)
    inputs, validation = (rng.random((count, 784), np.float32) + 1 for count in (50, 3))
    assert floor_flops(sizes, inputs, validation) == epoch_flops(sizes, 50, 3)
    inputs[:, :100] = 0  # forward and weight gradient
    validation[:2] = 0  # forward
    spared = 2 * 10 * (2 * 50 * 100 + 2 * 784)
    assert floor_flops(sizes, inputs, validation) == epoch_flops(sizes, 50, 3) - spared
    assert floor_flops([784, 10], inputs, validation[2:]) == 2 * 10 * (2 * 50 * 684 + 784)


def test_the_peak_is_the_highest_speed_of_all_products_and_repeats():
    peaks = [
        {"one_core": {"1024": 10.0, "2048": 11.0}, "all_cores": {"1024": 25.0, "2048": 19.0}},
        {"one_core": {"1024": 12.0, "2048": 9.0}, "all_cores": {"1024": 17.0, "2048": 21.0}},
    ]
    printed = []
    highest = highest_peak(peaks, printed.append)
    assert (highest["one_core"], highest["all_cores"]) == (12.0, 25.0)
    assert highest["all_cores_by_size"]["2048"] == {"median": 20.0, "min": 19.0, "max": 21.0}
    assert printed == ["peak: 12 GFLOP/s on one core, 25 on all cores"]


def test_a_summary_is_the_median_the_minimum_and_the_maximum():
    assert summary([3.00001, 1.0, 10.0]) == {"median": 3.0, "min": 1.0, "max": 10.0}


@pytest.mark.parametrize(
    ("place", "cost"),
    [(0, 2.4), (0, 2.2), (0, float("nan")), (2, 2.6), (2, 2.0), (2, float("nan"))],
)
def test_different_costs_of_a_contestant_stop_the_benchmark(place, cost):
    answers = {
        "ours": {"first": [[2.3, 0.1, 2.3, 0.1]]},
        "scikit-learn": {"cannot": "does not clip"},
        "numpy-loop": {"first": [[2.301, 0.5, 2.299, 0.9]]},
    }
    check_equal_work("tiny", answers)
    answers["numpy-loop"]["first"][0][place] = None
    check_equal_work("tiny", answers)
    answers["numpy-loop"]["first"][0][place] = cost
    with refused(error=PipelineError, match=r"^tiny: numpy-loop does not do the same work as ours"):
        check_equal_work("tiny", answers)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1.2345, "1,234"), (0.16512, "165"), (0.016512, "16.5"), (0.0016512, "1.65")],
)
def test_times_have_three_significant_digits(seconds, text):
    assert milliseconds(seconds) == text


def test_the_tables_show_the_machine_every_time_and_the_reason_for_every_gap():
    lines = render(RESULTS).splitlines()
    assert "Python 3.11.7, NumPy 2.4.6, scikit-learn 1.9.1." in lines[0]
    assert "A processor, 2 cores, 8 GiB" in lines[0]
    assert "products reach 64 GFLOP/s on all cores and 40 on one core." in lines[0]
    assert "| full_batch | 100 (90.0-110) | - | 1,250 (1,125-1,375) |" in lines
    assert "| full_batch | 50.0 (45.0-55.0) | - | 625 (562-688) |" in lines
    assert "| full_batch | 10.00 | 80 | - | 6 | 125% | 40.0 | 2.5 |" in lines
    assert "full_batch: scikit-learn does not clip." in lines
    assert "| full_batch | 3.00 | 500 |" in lines
    assert "| depth | 100 | 256 | 100 | 90 |" in lines


def test_only_the_text_between_the_markers_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n\n{BEGIN}\nold\n{END}\n\nMore.\n")
    for text in ("| first |", "| second |"):
        put_in_place(page, text)
        assert page.read_text() == f"# Title\n\n{BEGIN}\n{text}\n{END}\n\nMore.\n"


@pytest.mark.parametrize("text", ["", BEGIN, f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"])
def test_a_page_without_one_place_for_the_tables_is_not_changed(tmp_path, text):
    page = tmp_path / "page.md"
    page.write_text(text)
    with refused(match=r"page\.md must contain one <!-- benchmark:begin -->"):
        put_in_place(page, "| new |")
    assert page.read_text() == text


def test_the_chart_has_the_same_bytes_for_the_same_results_only(tmp_path):
    other = copy.deepcopy(RESULTS)
    other["epochs"]["tiny"]["contestants"]["numpy-loop"] = entry(0.04)
    for name, results in (("a", RESULTS), ("b", RESULTS), ("c", other)):
        draw_chart(results, tmp_path / f"{name}.png")
    first, again, changed = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert first == again != changed
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 2 * image.height
