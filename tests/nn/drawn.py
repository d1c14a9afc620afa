"""Settings of every kind, drawn by Hypothesis, with what training on a few digits needs."""

import math

import numpy as np
from hypothesis import strategies as st

from pipeline.base.params import VariantSettings
from pipeline.datasets.draws import key_of
from pipeline.nn.devices import NO_DRAWS, Draws
from pipeline.nn.dropout import keys
from pipeline.nn.network import Architecture, initialize_network
from pipeline.nn.schedules import rates

CLASSES = 10


@st.composite
def variants(draw):
    """Draw settings of every kind that a variant can have, for small networks."""
    loss = draw(st.sampled_from(["cross_entropy", "mean_squared_error"]))
    optimizer = draw(st.sampled_from(["sgd", "adam", "adamw"]))
    momentum = draw(st.sampled_from([0.0, 0.9])) if optimizer == "sgd" else 0.0
    return VariantSettings(
        hidden=draw(st.lists(st.integers(1, 140), max_size=3)),
        activation=draw(st.sampled_from(["relu", "sigmoid", "tanh"])),
        output="softmax"
        if loss == "cross_entropy"
        else draw(st.sampled_from(["softmax", "sigmoid"])),
        loss=loss,
        optimizer=optimizer,
        lr=draw(st.sampled_from([0.01, 0.1] if optimizer == "sgd" else [0.001, 0.01])),
        schedule=draw(st.sampled_from(["constant", "linear"])),
        momentum=momentum,
        nesterov=momentum > 0 and draw(st.booleans()),
        beta1=draw(st.sampled_from([0.5, 0.9])),
        beta2=draw(st.sampled_from([0.99, 0.999])),
        weight_decay=draw(st.sampled_from([0.0, 0.1])) if optimizer == "adamw" else 0.0,
        label_smoothing=draw(st.sampled_from([0.0, 0.1])) if loss == "cross_entropy" else 0.0,
        dropout=draw(st.sampled_from([0.0, 0.3])),
        l2=draw(st.sampled_from([0.0, 0.001])),
        clip_value=draw(st.sampled_from([None, 0.01])),
        clip_norm=draw(st.sampled_from([None, 0.5])),
        batch_size=draw(st.sampled_from([7, 32, 128, 200, "all"])),
        epochs=1,
    )


def images_of(digits, count, shift=0):
    """Return inputs (count, 784) and labels of digits. With a `shift`, no pixel is 0."""
    rows = np.random.default_rng(1).permutation(5000)[:count]
    inputs = (digits.images[rows].reshape(-1, 784) / 255 - shift).astype(np.float32)
    return inputs, digits.labels[rows]


def network_of(variant, seed=2, dtype=np.float32):
    sizes = (784, *variant.hidden, CLASSES)
    architecture = Architecture(sizes, variant.activation, variant.output, variant.loss)
    return initialize_network(architecture, "glorot", np.random.default_rng(seed), dtype)


KEY = key_of(np.random.default_rng(0))


def lr_of(variant, count):
    """The learning rates of an epoch, and the words for dropout."""
    steps = 1 if variant.batch_size == "all" else math.ceil(count / variant.batch_size)
    return rates(variant, 0, steps, steps)


def draws_of(variant, count):
    if not (variant.dropout and variant.hidden):
        return NO_DRAWS
    return Draws(drops=keys(KEY, 1, np.arange(count), len(variant.hidden)))
