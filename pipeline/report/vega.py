"""Vega, which draws interactive charts, and the page that `dvc plots` fills, with Vega inside.

DVC's own page loads Vega from the network, so it is blank without one. The command
`python -m pipeline.report.vega` writes `.dvc/plots.html`. It is committed, because DVC reads it.
"""

from functools import cache
from pathlib import Path

import vl_convert

PAGE = Path(".dvc/plots.html")

# DVC replaces {refresh_tag} and {plot_divs}. Each plot calls vegaEmbed when it is read, before the
# module has run, so calls wait in a list.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{refresh_tag}
<title>Plots</title>
<link rel="icon" href="data:,">
<style>
body { margin: 1.5rem; font: 1rem/1.5 system-ui, sans-serif; }
img { max-width: 100%; height: auto; }
</style>
<script>
const waiting = [];
window.vegaEmbed = (...plot) => waiting.push(plot);
</script>
</head>
<body>
{plot_divs}
<script type="module">SCRIPT
for (const [place, spec] of waiting) window.vegaEmbed(place, spec, { ast: false });
</script>
</body>
</html>
"""


@cache
def vega_script() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script that contains no HTML tag."""
    script: str = vl_convert.javascript_bundle()  # type: ignore[call-arg]  # it has a default
    return script


def plots_page() -> str:
    """Return the page that `dvc plots` fills."""
    return _PAGE.replace("SCRIPT", vega_script())


if __name__ == "__main__":
    PAGE.write_text(plots_page(), encoding="utf-8")
