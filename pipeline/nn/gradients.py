"""Limits on gradients, applied between the backward pass and the optimiser's step."""

from collections.abc import Callable

from pipeline.nn.backend import array_module
from pipeline.nn.network import Gradients
from pipeline.params import VariantSettings


def clip_by_value(gradients: Gradients, limit: float) -> Gradients:
    """Limit every element to [-limit, limit]. This changes the gradient's direction."""
    return {
        name: array_module(gradient).clip(gradient, -limit, limit)
        for name, gradient in gradients.items()
    }


def clip_by_norm(gradients: Gradients, limit: float) -> Gradients:
    """Scale all gradients by one factor so that their joint Euclidean norm is at most `limit`.

    Source: Pascanu et al. 2013, https://arxiv.org/abs/1211.5063, algorithm 1.
    """
    squares = [(gradient * gradient).sum() for gradient in gradients.values()]
    xp = array_module(next(iter(gradients.values())))
    norm = xp.sqrt(sum(squares))
    # A product with min(1, limit / norm) leaves the decision on the device: no copy to the host.
    factor = xp.minimum(1, limit / xp.maximum(norm, xp.finfo(norm.dtype).tiny))
    return {name: gradient * factor for name, gradient in gradients.items()}


def make_clip(settings: VariantSettings) -> Callable[[Gradients], Gradients] | None:
    """Build the limit on gradients that the settings ask for, by value, by norm or both, if any."""
    if settings.clip_value is None and settings.clip_norm is None:
        return None

    def clip(gradients: Gradients) -> Gradients:
        if settings.clip_value is not None:
            gradients = clip_by_value(gradients, settings.clip_value)
        if settings.clip_norm is not None:
            gradients = clip_by_norm(gradients, settings.clip_norm)
        return gradients

    return clip
