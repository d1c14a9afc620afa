"""How much results of one variant vary with the seed: mean, standard deviation and interval.

A seed determines the initial weights and the order of the batches. The training and validation
images stay the same.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import t

from pipeline.base.errors import TrainingError
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
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)) * deviation / len(values) ** 0.5
    return {
        "mean": mean,
        "standard_deviation": deviation,
        "low": mean - half,
        "high": mean + half,
        "repeats": len(ended),
        "failed": len(failed),
        "validation_accuracy": {str(trial.params["seed"]): trial.value for trial in ended},
    }
