"""Draw the time per epoch of every contestant, relative to this project, as a bar chart."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from pipeline.base.colours import SERIES
from pipeline.figures.style import INK, save_png, style

BAR = 0.8
"""Total width of the bars of a variant."""
LEGEND = 4
"""Names per row of the legend."""


def draw_chart(results: dict[str, Any], path: Path) -> None:
    """Draw the ratio of each contestant's median to that of this project, on a logarithmic scale.

    Bars above 1 are slower than this project, bars below 1 are faster.
    """
    names = [name for name in results["method"]["contestants"] if name != "ours"]
    variants = list(results["epochs"])
    width = BAR / max(len(names), 1)
    with style():
        figure = Figure(figsize=(10, 4.5), layout="constrained")
        ax = figure.subplots()
        for number, name in enumerate(names):
            colour = SERIES[(number + 1) % len(SERIES)]
            for at, variant in enumerate(variants):
                place = at + (number - (len(names) - 1) / 2) * width
                ratio = _ratio(results, variant, name)
                if ratio is None:
                    ax.annotate(
                        "not measured", (place, 1), (0, 3), textcoords="offset points", rotation=90,
                        ha="center", va="bottom", fontsize=7, color=INK,
                    )  # fmt: skip
                    continue
                ax.bar(place, ratio - 1, width * 0.92, bottom=1, color=colour)
                ax.annotate(
                    _number(ratio),
                    (place, ratio), (0, 2 if ratio >= 1 else -2), textcoords="offset points",
                    ha="center", va="bottom" if ratio >= 1 else "top", fontsize=8,
                )  # fmt: skip
            ax.bar(0, 0, 0, bottom=1, color=colour, label=name)  # a legend entry even without bars
        ax.axhline(1, color=SERIES[0], linewidth=2, label="ours")
        ax.set_yscale("log")
        ax.margins(y=0.12)
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.grid(axis="x", visible=False)
        ax.set_xticks(range(len(variants)), variants)
        ax.set(ylabel="time per epoch, relative to ours")
        ax.set_title("Time per epoch: bars above 1 are slower than ours, bars below 1 are faster")
        figure.legend(loc="outside lower center", ncols=LEGEND)
        save_png(figure, path)


def _ratio(results: dict[str, Any], variant: str, name: str) -> float | None:
    contestants = results["epochs"][variant]["contestants"]
    times = contestants[name].get("epoch_seconds")
    if times is None:
        return None
    return float(times["median"] / contestants["ours"]["epoch_seconds"]["median"])


def _number(ratio: float) -> str:
    """Return a ratio with two digits: 0.83, 1.2, 12."""
    return f"{ratio:.{0 if ratio >= 9.95 else 1 if ratio >= 0.995 else 2}f}"
