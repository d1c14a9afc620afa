"""The page that `dvc plots` fills draws without a network."""

import json

import pytest
from dvc_render.vega import VegaRenderer

from pipeline.report.vega import PAGE, plots_page
from tests.conftest import ROOT

pytest_plugins = ["tests.browser"]


@pytest.mark.long
def test_the_committed_page_is_the_one_for_the_installed_vega():
    written = (ROOT / PAGE).read_text(encoding="utf-8")
    assert written == plots_page(), "write it anew with: python -m pipeline.report.vega"


def test_plots_are_drawn_from_disk_without_a_network(page, tmp_path):
    spec = json.loads((ROOT / ".dvc/plots/costs.json").read_text())
    row = {"variant": "one", "split": "train", "loss": "mean_squared_error", "rev": "workspace"}
    spec["data"] = {"values": [row | {"epoch": k, "cost": 1 / k} for k in (1, 2, 3)]}
    text = json.dumps(spec).replace("<DVC_METRIC_X>", "epoch").replace("<DVC_METRIC_Y>", "cost")
    element = f"""<div id="one"><script type="text/javascript">
        var spec = {text}; vegaEmbed('#one', spec);</script></div>"""
    filled = plots_page().replace("{refresh_tag}", "").replace("{plot_divs}", element)
    (tmp_path / "index.html").write_text(filled, encoding="utf-8")
    page.goto((tmp_path / "index.html").as_uri())
    page.locator("#one .marks").wait_for()
    assert page.evaluate("waiting.length") == 1
    assert "cdn" in VegaRenderer.SCRIPTS  # what the page spares
