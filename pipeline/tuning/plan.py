"""Which trainings there are to run: what a sweep tries, and the seeds of repeats.

Trial n is chosen, and may be ended early, by the results of the trials 0 to n - parallel, which are
awaited; of those after them it knows only what they try. So the trials and their results are the
same whether one worker runs them or a hundred, and up to `parallel` of them can run at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial

from pipeline.nn.devices import find_device
from pipeline.params import Settings, SpaceSettings, VariantSettings, examples
from pipeline.tuning.space import check_space, distributions, grid, settings_of
from pipeline.tuning.study import begun, suggest
from pipeline.tuning.trial import Job, Pruning

DeviceKind = Literal["cpu", "gpu"]


def device_kind(settings: Settings) -> DeviceKind:
    """Give the kind of device that every worker must have: `auto` is decided by this machine."""
    if settings.device == "auto":
        return "cpu" if find_device("auto").is_cpu else "gpu"
    return settings.device


class Plan(Protocol):
    """Trainings to run: so many in `total`, at most `parallel` of them at a time."""

    @property
    def total(self) -> int:
        """The number of trials."""
        ...

    @property
    def shuffle_buffer(self) -> int | Literal["all"]:
        """Images that a trial holds in memory, see `pipeline.nn.streaming`."""
        ...

    @property
    def parallel(self) -> int:
        """The number of trials that may run at a time."""
        ...

    @property
    def tried(self) -> dict[str, BaseDistribution]:
        """What the trials differ in."""
        ...

    def choose(self, before: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Choose what the trial after those of `before` tries."""
        ...

    def job(self, params: dict[str, Any], before: Sequence[FrozenTrial]) -> Job:
        """Give the training of the trial that tries `params`, after those of `before`."""
        ...

    def label(self, trial: FrozenTrial) -> str:
        """Name a trial for people."""
        ...

    def description(self) -> dict[str, Any]:
        """Give all settings that decide which trials there are and what comes of them."""
        ...


def known_before(number: int, parallel: int, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Give the trials before one as it may know them: the last few without their results."""
    first = max(0, number - parallel + 1)
    return [
        *trials[:first],
        *(begun(trial.params, trial.distributions) for trial in trials[first:number]),
    ]


@dataclass(frozen=True)
class SweepPlan:
    """A sweep of one variant over a search space."""

    variant: str
    base: VariantSettings
    space: SpaceSettings
    seed: int
    device: DeviceKind
    shuffle_buffer: int | Literal["all"] = "all"

    @classmethod
    def of(cls, settings: Settings, variant: str, space: str) -> Self:
        """Take a plan from params.yaml. Raises SettingsError where variant and space do not fit."""
        check_space(settings, variant, space)
        return cls(
            variant,
            settings.variant(variant),
            settings.sweep.chosen(space),
            settings.seed,
            device_kind(settings),
            settings.shuffle_buffer,
        )

    @property
    def total(self) -> int:
        """The number of trials: of a grid, at most its points."""
        if self.space.sampler != "grid":
            return self.space.trials
        return min(self.space.trials, math.prod(map(len, grid(self.space).values())))

    @property
    def parallel(self) -> int:
        """The number of trials that may run at a time: all, if none depends on another."""
        looks_back = self.space.sampler == "tpe" or self.space.pruner != "none"
        return self.space.parallel if looks_back else self.total

    @property
    def tried(self) -> dict[str, BaseDistribution]:
        """What the trials differ in."""
        return distributions(self.space)

    @property
    def epochs(self) -> int:
        """The most epochs that a trial runs."""
        if "epochs" not in self.space.settings:
            return self.base.epochs
        return max(int(value) for _, value in examples(self.space.settings["epochs"]))

    def choose(self, before: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Ask Optuna what to try next."""
        return suggest(self.space, self.seed, self.epochs, before)

    def job(self, params: dict[str, Any], before: Sequence[FrozenTrial]) -> Job:
        """Give the training, with the earlier trials if it may be ended early."""
        pruning = None
        if self.space.pruner != "none":
            pruning = Pruning(self.space.pruner, self.epochs, before)
        settings = settings_of(params, self.space, self.base)
        return Job(settings, self.seed, self.device, self.shuffle_buffer, pruning)

    def label(self, trial: FrozenTrial) -> str:
        """Name a trial by its number."""
        return f"trial {trial.number}"

    def description(self) -> dict[str, Any]:
        """Leave out how many trials there are: a sweep that is given more of them goes on."""
        left_out = {"trials", "published"} | (
            {"parallel"} if self.parallel == self.total else set()
        )
        return {
            "variant": self.variant,
            "settings": self.base.model_dump(),
            "space": self.space.model_dump(exclude=left_out),
            "seed": self.seed,
            "device": self.device,
            "shuffle_buffer": self.shuffle_buffer,
        }


@dataclass(frozen=True)
class RepeatPlan:
    """The same training with one seed after another, from `seed` on."""

    variant: str
    settings: VariantSettings
    seed: int
    total: int
    device: DeviceKind
    shuffle_buffer: int | Literal["all"] = "all"

    @classmethod
    def of(cls, settings: Settings, variant: str, total: int) -> Self:
        """Take a plan from params.yaml."""
        return cls(
            variant,
            settings.variant(variant),
            settings.seed,
            total,
            device_kind(settings),
            settings.shuffle_buffer,
        )

    @property
    def parallel(self) -> int:
        """No repeat waits for another."""
        return self.total

    @property
    def tried(self) -> dict[str, BaseDistribution]:
        """Only the seed differs."""
        return {"seed": IntDistribution(self.seed, 2**40)}

    def choose(self, before: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Take the next seed."""
        return {"seed": self.seed + len(before)}

    def job(
        self,
        params: dict[str, Any],
        before: Sequence[FrozenTrial],  # noqa: ARG002  # a repeat looks at no other
    ) -> Job:
        """Give the training with the chosen seed."""
        return Job(self.settings, params["seed"], self.device, self.shuffle_buffer)

    def label(self, trial: FrozenTrial) -> str:
        """Name a trial by its seed."""
        return f"seed {trial.params['seed']}"

    def description(self) -> dict[str, Any]:
        """Leave out how many repeats there are: more of them go on where fewer ended."""
        return {
            "variant": self.variant,
            "settings": self.settings.model_dump(),
            "seed": self.seed,
            "device": self.device,
            "shuffle_buffer": self.shuffle_buffer,
        }
