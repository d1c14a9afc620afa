"""Optuna in memory: what to try next and what to end early, from earlier trials and nothing else.

A study is rebuilt for every question. So the answer depends only on the trials that are handed in,
not on what a process was asked before: a sweep that is taken up again goes on as if never stopped.
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

from pipeline.params import SpaceSettings
from pipeline.tuning.space import distributions, grid

optuna.logging.set_verbosity(optuna.logging.WARNING)

NAME = "sweep"
"""Of every study: Hyperband deals trials to its brackets by this name and their numbers."""


def suggest(
    space: SpaceSettings, seed: int, epochs: int, trials: Sequence[FrozenTrial]
) -> dict[str, Any]:
    """Choose the trial with the number `len(trials)`, given all before it.

    Of a running trial, all that counts is what it tries. epochs: the most that a trial runs.
    """
    sampler = _sampler(space, seed, len(trials))
    study = _study(sampler, make_pruner(space.pruner, epochs), trials)
    return study.ask(distributions(space)).params


def begun(params: dict[str, Any], tried: dict[str, BaseDistribution]) -> FrozenTrial:
    """Build a running trial, of which nothing is known but what it tries."""
    return create_trial(state=TrialState.RUNNING, params=params, distributions=tried)


class Watch:
    """Follows one trial by its epochs and says when it has fallen behind the trials before it."""

    def __init__(self, pruner: str, epochs: int, trials: Sequence[FrozenTrial]) -> None:
        self._study = _study(RandomSampler(0), make_pruner(pruner, epochs), trials)
        self._trial = self._study.ask()

    def falls_behind(self, epoch: int, accuracy: float) -> bool:
        """Say whether the trial should end, given its validation accuracy after an epoch."""
        self._trial.report(accuracy, epoch)
        return self._trial.should_prune()

    @property
    def rungs(self) -> dict[str, Any]:
        """What Hyperband will compare later trials with."""
        return self._study.trials[-1].system_attrs


def make_pruner(name: str, epochs: int) -> BasePruner:
    """Build a pruner of trials that run at most so many epochs."""
    if name == "median":
        return MedianPruner()
    if name == "hyperband":
        return HyperbandPruner(max_resource=epochs)
    return NopPruner()


def _sampler(space: SpaceSettings, seed: int, number: int) -> BaseSampler:
    """Build the sampler of one trial, with a stream of random numbers of its own."""
    if space.sampler == "grid":
        return GridSampler(grid(space), seed)  # the seed shuffles: the same for all trials
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
