"""Figures as they are drawn."""

from collections.abc import Mapping

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.reviewed import check_drawn


def render(figure: Figure) -> FigureCanvasAgg:
    """Draw a figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas


def check_rendered(group: str, canvases: Mapping[str, FigureCanvasAgg]) -> None:
    """Compare drawn figures of a group with those reviewed."""
    check_drawn(group, {name: canvas.buffer_rgba() for name, canvas in canvases.items()})
