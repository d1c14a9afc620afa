"""Figures as they are drawn."""

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def render(figure: Figure) -> FigureCanvasAgg:
    """Draw a figure."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return canvas
