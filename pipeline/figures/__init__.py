"""Figures as functions of axes and data; the only place that imports matplotlib.

Matplotlib is imported without the user's choices, because the import fails if it refuses one.
Notebooks choose a backend that is not installed here.
"""

import os

_CHOICES = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
os.environ["MATPLOTLIBRC"] = os.devnull

import matplotlib  # noqa: E402, F401

del os.environ["MATPLOTLIBRC"]
os.environ.update({name: choice for name, choice in _CHOICES.items() if choice is not None})
