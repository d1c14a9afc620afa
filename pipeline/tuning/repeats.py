"""How much results of one variant vary, with the seed or with the images.

A seed determines the initial weights and the order of the batches. The training and validation
images stay the same. In cross-validation the seed stays the same, and the images vary.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import t

from pipeline.base.errors import TrainingError
from pipeline.metrics import wilson_interval
from pipeline.tuning.folds import fold_sizes
from pipeline.tuning.plan import FoldPlan
from pipeline.tuning.store import outcome_of

CONFIDENCE = 0.95


def repeat_statistics(trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the mean validation accuracy over seeds, its standard deviation and 95 % interval.

    The interval is Student's, mean ± t s / sqrt(n), for n seeds with standard deviation s. Failed
    seeds are counted and excluded. Raises TrainingError if fewer than two remain.
    """
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    if len(ended) < 2:
        reason = outcome_of(failed[0]).reason
        raise TrainingError(f"{len(failed)} of {len(trials)} repeats failed; the first: {reason}")
    values = np.array([trial.value for trial in ended])
    mean, deviation = float(values.mean()), float(values.std(ddof=1))
    half = _half_interval(deviation, len(values))
    return {
        "mean": mean,
        "standard_deviation": deviation,
        "low": mean - half,
        "high": mean + half,
        "repeats": len(ended),
        "failed": len(failed),
        "validation_accuracy": {str(trial.params["seed"]): trial.value for trial in ended},
    }


def pair_statistics(
    variants: tuple[str, str], one: Sequence[FrozenTrial], other: Sequence[FrozenTrial]
) -> dict[str, Any]:
    """Return the mean difference of two variants' validation accuracies, seed by seed.

    The interval is Student's, of the differences: mean ± t s / sqrt(n), for n seeds on which both
    ran to completion. The images are the same for all, so it says nothing about other images.
    Raises TrainingError if fewer than two such seeds remain.
    """
    accuracies = [
        {str(trial.params["seed"]): trial.value for trial in trials if trial.value is not None}
        for trials in (one, other)
    ]
    seeds = [seed for seed in accuracies[0] if seed in accuracies[1]]
    if len(seeds) < 2:
        raise TrainingError(
            f"{' and '.join(variants)} both completed for {len(seeds)} seeds; 2 or more are needed"
        )
    pairs = {seed: [accuracies[0][seed], accuracies[1][seed]] for seed in seeds}
    differences = np.array([first - second for first, second in pairs.values()])
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    half = _half_interval(deviation, len(differences))
    return {
        "variants": list(variants),
        "difference": mean,
        "standard_deviation": deviation,
        "low": mean - half,
        "high": mean + half,
        "seeds": len(seeds),
        "first_better": int((differences > 0).sum()),
        "second_better": int((differences < 0).sum()),
        "pairs": pairs,
    }


def _half_interval(deviation: float, count: int) -> float:
    """Return half of Student's interval of the mean of `count` values."""
    factor = float(t.ppf((1 + CONFIDENCE) / 2, count - 1))
    return factor * deviation / math.sqrt(count)


def fold_statistics(plan: FoldPlan, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the mean accuracy over folds, its standard deviation, and the pooled accuracy.

    The mean has no interval: any two networks share most of their training images, so the folds are
    not independent, and nothing estimates the variance of their mean without bias (Bengio and
    Grandvalet 2004, https://www.jmlr.org/papers/v5/grandvalet04a.html). The pooled accuracy is over
    all images, each classified by the network that was not trained on it. Its 95 % Wilson interval
    counts images as independent: it says how much the choice of images matters for these networks,
    and not how much networks differ. Raises TrainingError if a fold failed.
    """
    failed = [trial for trial in trials if trial.state == TrialState.FAIL]
    if failed:
        reason = outcome_of(failed[0]).reason
        raise TrainingError(
            f"{len(failed)} of {plan.total} folds failed; the first, "
            f"{plan.label(failed[0])}: {reason}"
        )
    values = np.array([trial.value for trial in trials])
    sizes = fold_sizes(plan.images, plan.total)
    right = sum(round(value * size) for value, size in zip(values, sizes, strict=True))
    low, high = wilson_interval(right, plan.images)
    return {
        "mean": float(values.mean()),
        "standard_deviation": float(values.std(ddof=1)),
        "folds": plan.total,
        "pooled": right / plan.images,
        "pooled_low": low,
        "pooled_high": high,
        "images": plan.images,
        "validation_accuracy": {str(trial.params["fold"]): trial.value for trial in trials},
    }
