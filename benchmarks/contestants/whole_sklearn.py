"""scikit-learn's `MLPClassifier` as a whole process, on plain images: it cannot distort them.

Its learning rate is constant, and what is not set here has its default.
"""

import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from benchmarks.attempt import Attempt, Pixels, take_part


def train(attempt: Attempt, path: Path) -> None:
    """Train a classifier and save it."""
    sklearn.set_config(assume_finite=True)
    settings, (pixels, labels) = attempt.settings, attempt.part("train")
    model = MLPClassifier(
        settings["hidden"],
        solver="adam",
        batch_size=min(settings["batch_size"], len(labels)),
        learning_rate_init=settings["lr"],
        beta_1=settings["beta1"],
        beta_2=settings["beta2"],
        max_iter=settings["epochs"],
        n_iter_no_change=settings["epochs"],  # no early stopping
        random_state=attempt.seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # all epochs are run
        model.fit(_inputs(pixels), labels)
    path.write_bytes(pickle.dumps(model))


def probabilities(_: Attempt, path: Path, pixels: Pixels) -> Any:
    """Return the class probabilities of images by a saved classifier."""
    return pickle.loads(path.read_bytes()).predict_proba(_inputs(pixels))  # noqa: S301  # made above


def _inputs(pixels: Pixels) -> Any:
    return pixels.astype(np.float32) / np.float32(255)


if __name__ == "__main__":
    take_part(train, probabilities)
