"""The results of a sweep: its best trial, a table of its trials, and parameter importances."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import FrozenTrial, TrialState

from pipeline.base.errors import TrainingError
from pipeline.base.params import value_of
from pipeline.tuning.plan import SweepPlan
from pipeline.tuning.space import assignments, settings_of
from pipeline.tuning.store import STATES, outcome_of

DIGITS = 6
"""Decimals of the best trial's results, as in the metrics of `pipeline.evaluation`."""
NAMES = {state: name for name, state in STATES.items()}
IMPORTANCE_TRIALS = 500
"""Maximum number of trials from which importances are computed; the time grows faster than it."""


def best_trial(trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """Return the trial with the highest validation accuracy; on a tie, the first.

    Raises TrainingError if no trial ran to completion.
    """
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not ended:
        reason = next(filter(None, (outcome_of(trial).reason for trial in trials)), "all pruned")
        raise TrainingError(f"none of {len(trials)} trials ran to completion; the first: {reason}")
    return max(ended, key=lambda trial: (trial.value, -trial.number))


def summary(plan: SweepPlan, trials: Sequence[FrozenTrial]) -> dict[str, Any]:
    """Return the best trial, its settings and accuracy, and the number of trials by state."""
    best = best_trial(trials)
    outcome = outcome_of(best)
    states = Counter(NAMES[trial.state] for trial in trials)
    settings = settings_of(best.params, plan.space, plan.base)
    return {
        "variant": plan.variant,
        "best_trial": best.number,
        "validation_accuracy": round(outcome.accuracy, DIGITS),
        "validation_cost": None if outcome.cost is None else round(outcome.cost, DIGITS),
        "settings": {name: value_of(settings, name) for name in plan.space.settings},
        "trials": {name: states[name] for name in STATES},
    }


def winning_command(plan: SweepPlan, trials: Sequence[FrozenTrial]) -> str:
    """Return the command that trains the best trial's network in the pipeline."""
    settings = settings_of(best_trial(trials).params, plan.space, plan.base)
    return " ".join(["dvc exp run", *assignments(plan.variant, plan.space, plan.base, settings)])


def trial_table(plan: SweepPlan, trials: Sequence[FrozenTrial]) -> pd.DataFrame:
    """Return one row per trial: number, state, accuracy, cost, epochs run, settings, reason."""
    rows = [
        {
            "trial": trial.number,
            "state": NAMES[trial.state],
            "validation_accuracy": outcome.accuracy if outcome.accuracies else None,
            "validation_cost": outcome.cost,
            "epochs_run": len(outcome.accuracies),
            **{f"settings.{name}": _text_of_none(trial.params[name]) for name in plan.tried},
            "reason": outcome.reason,
        }
        for trial in trials
        for outcome in (outcome_of(trial),)
    ]
    return pd.DataFrame(rows)


def _text_of_none(value: Any) -> Any:
    """Return None as params.yaml writes it, because a table would leave the cell empty."""
    return "null" if value is None else value


def importances(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return the fraction of the accuracy's variance that each setting explains, largest first.

    Only completed trials count; of more than IMPORTANCE_TRIALS, so many that are evenly spaced. The
    result is empty if there are fewer than two or all are alike.
    Source: Hutter et al. 2014, http://proceedings.mlr.press/v32/hutter14.html
    """
    ended = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(ended) > IMPORTANCE_TRIALS:
        ended = [ended[at] for at in np.linspace(0, len(ended) - 1, IMPORTANCE_TRIALS).astype(int)]
    study = optuna.create_study(direction="maximize")
    study.add_trials(ended)
    varied = [
        name
        for name, distribution in (ended[0].distributions if ended else {}).items()
        if not distribution.single()
    ]
    if len({trial.value for trial in ended}) < 2 or not varied:
        return {}
    evaluator = FanovaImportanceEvaluator(seed=0)
    return dict(get_param_importances(study, evaluator=evaluator, params=varied))
