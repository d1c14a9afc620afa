"""Schedules of the learning rate: which rate each step of a training run has."""

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.base.params import VariantSettings
from pipeline.base.trigonometry import cosine


def rate(settings: VariantSettings, step: int, steps: int) -> float:
    """Return the learning rate of step number `step`, from 0, of a run of `steps` steps.

    During the warm-up the rate rises linearly, and reaches `lr` in the first step after it. Then it
    stays, falls to 0 linearly or as half a cosine, or is multiplied by `drop` at each of `drops`.
    Sources: Goyal et al. 2017, https://arxiv.org/abs/1706.02677, section 2.2 (warm-up); Loshchilov
    and Hutter 2017, https://arxiv.org/abs/1608.03983, equation 5 (cosine).
    """
    rising = settings.warmup * steps
    if step + 1 < rising:
        return settings.lr * (step + 1) / rising
    done = (step - rising) / (steps - rising) if step > rising else 0.0
    if settings.schedule == "linear":
        return settings.lr * (1 - done)
    if settings.schedule == "cosine":
        return settings.lr * 0.5 * (1 + cosine(math.pi * done))
    reached = sum(step >= drop * steps for drop in settings.drops)
    lr = settings.lr
    for _ in range(reached):
        lr *= settings.drop
    return lr


def rates(settings: VariantSettings, first: int, count: int, steps: int) -> NDArray[np.float64]:
    """Return the learning rates of `count` steps from step number `first` on."""
    if settings.schedule == "constant" and not settings.warmup:
        return np.full(count, settings.lr)
    return np.array([rate(settings, first + step, steps) for step in range(count)])
