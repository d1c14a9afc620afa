"""A page to draw a digit on; every network classifies it while it is drawn.

The page is one file that contains all weights. It opens from disk and needs no server.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.datasets.images import HEIGHT, WIDTH
from pipeline.datasets.picture import BOX, INK
from pipeline.nn.model_file import Model

_FOLDER = Path(__file__).parent


def draw_page(models: Sequence[Model]) -> str:
    """Return the HTML of the page. All models must be of one dataset.

    models: the best first. Its answer leads, and its layers are shown until another is chosen.
    Weights are stored as float32, so that the page predicts what the models predict. The same
    models give the same page.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    class_names = models[0].class_names
    return environment.get_template("draw.html.j2").render(
        style=(_FOLDER / "draw.css").read_text(encoding="utf-8"),
        script=(_FOLDER / "draw.js").read_text(encoding="utf-8"),
        class_names=class_names,
        longest_name=max(map(len, class_names)),
        subject="digit" if all(name.isdecimal() for name in class_names) else "picture",
        networks=[_network(model) for model in models],
        image={
            "height": HEIGHT,
            "width": WIDTH,
            "box": BOX,
            "ink": INK,
            "pictures": models[0].pictures,
        },
    )


def _network(model: Model) -> dict[str, Any]:
    """Return what the script of the page needs of a model; the template escapes it."""
    architecture = model.network.architecture
    parameters = [
        model.network.parameters[name].astype("<f4").tobytes()
        for name in architecture.parameter_shapes()
    ]
    return {
        "variant": model.variant,
        "sizes": architecture.sizes,
        "activation": architecture.activation,
        "output": architecture.output,
        "loss": architecture.loss,
        "mean": model.normalization.mean,
        "std": model.normalization.std,
        "parameters": base64.b64encode(b"".join(parameters)).decode("ascii"),
    }
