"""A picture on its way to a network's input, step by step."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.figures.style import literal, style


def preparation_figure(steps: list[tuple[str, NDArray[np.uint8]]], title: str) -> Figure:
    """Draw grey pictures `(H, W)` side by side, each with its title and size."""
    with style():
        figure = Figure(figsize=(2.6 * max(2, len(steps)), 3.3), layout="constrained")
        figure.suptitle(literal(title), x=0.01, ha="left", fontweight="bold")
        for ax, (name, picture) in zip(
            figure.subplots(1, len(steps), squeeze=False)[0], steps, strict=True
        ):
            ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            ax.set_title(name)
            ax.set_xlabel(f"{picture.shape[1]} × {picture.shape[0]} pixels")
            ax.set_xticks([])
            ax.set_yticks([])
            ax.set_frame_on(False)
            ax.grid(visible=False)
    return figure
