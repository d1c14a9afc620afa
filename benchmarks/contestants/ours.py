"""The project itself: `pipeline.nn.training.train`, as the stage `train` calls it.

It also records the norms of weights and gradients every epoch, which no rival is asked for.
"""

import pipeline  # noqa: F401, I001  # first: it pins the processor's kernels before NumPy loads

from collections.abc import Iterator

from benchmarks.job import Epoch, Epochs, Job
from pipeline.nn.backend import CPU
from pipeline.nn.batches import put_batch
from pipeline.nn.parallel import Workers
from pipeline.nn.training import make_network, train
from pipeline.params import VariantSettings

ENDLESS = 10**9
"""Epochs to ask for: the benchmark says when to stop."""


def make(job: Job) -> Epochs:
    """Prepare to train a variant."""
    settings = VariantSettings(**job.settings | {"epochs": ENDLESS})
    training = put_batch(CPU, job.inputs, job.labels)

    def epochs(scored: int) -> Iterator[Epoch]:
        network, rng = make_network(settings, job.classes, job.seed, CPU)
        validation = put_batch(CPU, job.validation_inputs[:scored], job.validation_labels[:scored])
        with Workers(CPU, job.threads) as workers:
            for report in train(network, settings, training, validation, rng, workers):
                yield Epoch(
                    report.train.cost,
                    report.train.accuracy,
                    report.validation.cost,
                    report.validation.accuracy,
                )

    return epochs
