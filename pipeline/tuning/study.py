"""Optuna in memory: the next parameters to try, and whether to prune, from earlier trials alone.

A study is rebuilt for every question, so the answer depends only on the given trials and not on
earlier questions. An interrupted sweep therefore continues as if it had never stopped.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, GridSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.base.params import SpaceSettings
from pipeline.tuning.space import distributions, grid

optuna.logging.set_verbosity(optuna.logging.WARNING)

NAME = "sweep"
"""Name of every study. Hyperband assigns trials to brackets by this name and the trial number."""


def suggest(
    space: SpaceSettings, seed: int, epochs: int, trials: Sequence[FrozenTrial]
) -> dict[str, Any]:
    """Return the parameters of trial number `len(trials)`, given all trials before it.

    Of a running trial, only its parameters are used. epochs: maximum number of epochs of a trial.
    """
    sampler = _sampler(space, seed, len(trials))
    known = [] if space.sampler == "random" else trials  # its number alone determines a random one
    study = _study(sampler, make_pruner(space.pruner, epochs), known)
    return study.ask(distributions(space)).params


def begun(params: dict[str, Any], tried: dict[str, BaseDistribution]) -> FrozenTrial:
    """Return a running trial, with its parameters and no result."""
    return create_trial(state=TrialState.RUNNING, params=params, distributions=tried)


class Watch:
    """Follows a trial epoch by epoch and compares it with the trials before it."""

    def __init__(self, pruner: str, epochs: int, trials: Sequence[FrozenTrial]) -> None:
        self._study = _study(RandomSampler(0), make_pruner(pruner, epochs), trials)
        self._trial = self._study.ask()

    def falls_behind(self, epoch: int, accuracy: float) -> bool:
        """Whether to prune the trial, given its validation accuracy after an epoch."""
        self._trial.report(accuracy, epoch)
        return self._trial.should_prune()

    @property
    def rungs(self) -> dict[str, Any]:
        """The values that Hyperband compares later trials with."""
        return self._study.trials[-1].system_attrs


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Return a pruner for trials of at most `epochs` epochs."""
    if name == "median":
        return MedianPruner()
    if name == "hyperband":
        return HyperbandPruner(max_resource=epochs)
    return NopPruner()


def _sampler(space: SpaceSettings, seed: int, number: int) -> BaseSampler:
    """Return the sampler of one trial, with its own random stream."""
    if space.sampler == "grid":
        return GridSampler(grid(space), seed)  # the seed shuffles the grid, the same for all trials
    stream = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    if space.sampler == "random":
        return RandomSampler(stream)
    return TPESampler(seed=stream, multivariate=True, constant_liar=True)


def _study(sampler: BaseSampler, pruner: BasePruner, trials: Sequence[FrozenTrial]) -> Study:
    study = optuna.create_study(
        direction="maximize", sampler=sampler, pruner=pruner, study_name=NAME
    )
    study.add_trials(trials)
    return study
