"""Gradient clipping, applied between the backward pass and the optimiser's step."""

import numpy as np

from pipeline.base.params import VariantSettings
from pipeline.nn.network import Gradients


def clip_by_value(gradients: Gradients, limit: float) -> Gradients:
    """Clip every element to [-limit, limit]. This changes the direction of the gradient."""
    return {name: np.clip(gradient, -limit, limit) for name, gradient in gradients.items()}


def clip_by_norm(gradients: Gradients, limit: float) -> Gradients:
    """Scale all gradients by one factor so that their joint Euclidean norm is at most `limit`.

    Source: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063, algorithm 1.
    """
    norm = np.sqrt(sum((gradient * gradient).sum() for gradient in gradients.values()))
    # limit / max(norm, limit) is 1 for a norm within the limit, so no branch is needed.
    factor = limit / np.maximum(norm, limit)
    return {name: gradient * factor for name, gradient in gradients.items()}


def clip(gradients: Gradients, settings: VariantSettings) -> Gradients:
    """Clip gradients as the settings require: by value, by norm, both or not at all."""
    if settings.clip_value is not None:
        gradients = clip_by_value(gradients, settings.clip_value)
    if settings.clip_norm is not None:
        gradients = clip_by_norm(gradients, settings.clip_norm)
    return gradients
