"""Digests of the results of training each variant, the same on every machine.

    python -m tests.nn.digests DIGITS.npz THREADS [VARIANT ...]

prints them as JSON, for a process with code compiled for another CPU, or for another machine.
DIGITS.npz has `images` (n, 784) uint8 and `labels` (n,); the last 200 are for validation.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

from pipeline.base.params_file import read_params
from pipeline.nn.devices import CPU
from pipeline.nn.streaming import HeldImages
from pipeline.nn.training import Training, make_network

EPOCHS = 2
SETTINGS = Path(__file__).parents[2] / "params.yaml"


def digest(variant, images, labels, threads=None, device=CPU):
    """Return a digest of a variant's weights, reports and probabilities after two epochs."""
    fewer = {"epochs": EPOCHS, "epochs_for": None}
    settings = read_params(SETTINGS).variant(variant).model_copy(update=fewer)
    table = np.arange(256) / np.float32(255)
    inputs = table[images]
    network, rng = make_network(settings, 10, 0)
    engine = device.engine(network, settings, threads)
    training, validation = (
        engine.hold([(inputs[part], labels[part])], len(labels[part]), table)
        for part in (slice(None, -200), slice(-200, None))
    )
    run = Training(engine, settings, HeldImages(training), validation, rng)
    reports = [repr(vars(report)) for report in run.epochs()]
    arrays = [*network.parameters.values(), engine.probabilities(validation)]
    content = b"".join(array.tobytes() for array in arrays) + "".join(reports).encode()
    return hashlib.sha256(content).hexdigest()[:16]


if __name__ == "__main__":
    file, threads, *variants = sys.argv[1:]
    digits = np.load(file)
    found = {
        variant: digest(variant, digits["images"], digits["labels"], int(threads))
        for variant in variants or read_params(SETTINGS).variants
    }
    sys.stdout.write(json.dumps(found) + "\n")
