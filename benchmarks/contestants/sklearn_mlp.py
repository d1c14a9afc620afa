"""scikit-learn's `MLPClassifier`, with one call of `partial_fit` per epoch.

It does less than the others: it does not compute the training accuracy. Its L2 strength is `alpha`,
which is divided by the batch size in the gradient and included in the reported cost.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.neural_network import MLPClassifier

from benchmarks.job import Epoch, Epochs, Job, UnableError

ACTIVATIONS = {"relu": "relu", "sigmoid": "logistic", "tanh": "tanh"}


class GivenOrder(np.random.RandomState):
    """A random state that shuffles in the order of a job, so that batches are the same for all."""

    def __init__(self, order: np.random.Generator) -> None:
        super().__init__(0)
        self._order = order

    def shuffle(self, x: NDArray[Any]) -> None:  # type: ignore[override]
        """Put the indices of all images in the order of the next epoch."""
        x[:] = x[self._order.permutation(len(x))]


def make(job: Job) -> Epochs:
    """Prepare to train a variant. Raises UnableError if a setting is not supported."""
    settings, size = job.settings, job.batch_size
    if settings["loss"] != "cross_entropy":
        raise UnableError("supports cross-entropy only")
    if settings["clip_value"] is not None:
        raise UnableError("does not clip gradients")
    sklearn.set_config(assume_finite=True)  # skips the check of every pixel in every epoch
    classes = np.arange(job.classes)

    def epochs(scored: int) -> Iterator[Epoch]:
        model = MLPClassifier(
            settings["hidden"],
            activation=ACTIVATIONS[settings["activation"]],
            solver="sgd",
            alpha=settings["l2"] * size,
            batch_size=size,
            learning_rate_init=settings["lr"],
            momentum=settings["momentum"],
            nesterovs_momentum=False,
            shuffle=size < len(job.labels),
            random_state=GivenOrder(job.order()),
        )
        model.partial_fit(job.inputs[:size], job.labels[:size], classes=classes)  # makes its arrays
        model.coefs_ = [weight.copy() for weight, _ in job.weights]
        model.intercepts_ = [bias.copy() for _, bias in job.weights]
        del model._optimizer  # with the velocity of that call
        model.random_state = GivenOrder(job.order())
        labels = job.validation_labels[:scored]
        while True:
            model.partial_fit(job.inputs, job.labels)
            probabilities = model.predict_proba(job.validation_inputs[:scored])
            # Like its own log loss, keep logarithms of underflowed probabilities finite.
            of_label = probabilities[np.arange(len(labels)), labels].clip(1e-30)
            yield Epoch(
                None if settings["l2"] else model.loss_,
                None,
                float(-np.log(of_label).mean()),
                float((probabilities.argmax(axis=1) == labels).mean()),
            )

    return epochs
