"""The trials to run: those of a sweep, the seeds of repeats, or the folds of cross-validation.

Trial n is chosen, and may be pruned, from the results of the trials 0 to n - parallel. It waits for
those; of later trials it knows only the settings. So the trials and their results are the same for
any number of workers, and up to `parallel` trials can run at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from optuna.distributions import BaseDistribution, IntDistribution
from optuna.trial import FrozenTrial

from pipeline.base.errors import SettingsError
from pipeline.base.params import Settings, SpaceSettings, VariantSettings, examples
from pipeline.nn.devices import find_device
from pipeline.tuning.folds import Fold
from pipeline.tuning.space import check_space, distributions, grid, settings_of
from pipeline.tuning.study import begun, suggest
from pipeline.tuning.trial import Job, Pruning

DeviceKind = Literal["cpu", "gpu"]


def device_kind(settings: Settings) -> DeviceKind:
    """Return the kind of device that every worker needs. This machine decides what `auto` is."""
    if settings.device == "auto":
        return "cpu" if find_device("auto").is_cpu else "gpu"
    return settings.device


def known_before(number: int, parallel: int, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials before a trial, as far as it may know them: the last without results."""
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
        """Return the plan from params.yaml. Raises SettingsError if variant and space conflict."""
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
        """The number of trials; for a grid, at most the number of its points."""
        if self.space.sampler != "grid":
            return self.space.trials
        return min(self.space.trials, math.prod(map(len, grid(self.space).values())))

    @property
    def looks_back(self) -> bool:
        """Whether a trial depends on the results of others."""
        return self.space.sampler == "tpe" or self.space.pruner != "none"

    @property
    def parallel(self) -> int:
        """The maximum number of trials at a time: all, if no trial depends on another."""
        return self.space.parallel if self.looks_back else self.total

    @property
    def tried(self) -> dict[str, BaseDistribution]:
        """The search space: what distinguishes the trials."""
        return distributions(self.space)

    @property
    def epochs(self) -> int:
        """The maximum number of epochs of a trial."""
        if "epochs" not in self.space.settings:
            return self.base.epochs
        return max(int(value) for _, value in examples(self.space.settings["epochs"]))

    def choose(self, before: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Ask Optuna for the next parameters."""
        return suggest(self.space, self.seed, self.epochs, before)

    def job(self, params: dict[str, Any], before: Sequence[FrozenTrial]) -> Job:
        """Return the job, with the earlier trials if it may be pruned."""
        pruning = None
        if self.space.pruner != "none":
            pruning = Pruning(self.space.pruner, self.epochs, before)
        settings = settings_of(params, self.space, self.base)
        return Job(settings, self.seed, self.device, self.shuffle_buffer, pruning)

    def label(self, trial: FrozenTrial) -> str:
        """Return the number of a trial as its name, and the settings that it tries."""
        tried = self.tried
        shown = [
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
            for name, value in trial.params.items()
            if not tried[name].single()
        ]
        return f"trial {trial.number}" + (f" ({', '.join(shown)})" if shown else "")

    def description(self) -> dict[str, Any]:
        """Return the settings without the number of trials, so that a sweep can be extended."""
        left_out = {"trials", "published"} | (
            {"parallel"} if self.parallel == self.total else set()
        )
        return {
            "variant": self.variant,
            "settings": self.base.model_dump(),
            "space": self.space.model_dump(exclude=left_out),
            "seed": self.seed,
            "shuffle_buffer": self.shuffle_buffer,
        }


@dataclass(frozen=True)
class RepeatPlan:
    """The same training run with consecutive seeds, starting at `seed`."""

    variant: str
    settings: VariantSettings
    seed: int
    total: int
    device: DeviceKind
    shuffle_buffer: int | Literal["all"] = "all"
    looks_back: ClassVar[bool] = False

    @classmethod
    def of(cls, settings: Settings, variant: str, total: int) -> Self:
        """Return the plan from params.yaml."""
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
        """All repeats, because none depends on another."""
        return self.total

    @property
    def tried(self) -> dict[str, BaseDistribution]:
        """The search space: only the seed differs."""
        return {"seed": IntDistribution(self.seed, 2**40)}

    def choose(self, before: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Return the next seed."""
        return {"seed": self.seed + len(before)}

    def job(
        self,
        params: dict[str, Any],
        before: Sequence[FrozenTrial],  # noqa: ARG002  # repeats are independent
    ) -> Job:
        """Return the job with the chosen seed."""
        return Job(self.settings, params["seed"], self.device, self.shuffle_buffer)

    def label(self, trial: FrozenTrial) -> str:
        """Return the seed of a trial as its name."""
        return f"seed {trial.params['seed']}"

    def description(self) -> dict[str, Any]:
        """Return the settings without the number of repeats, so that more can be added."""
        return {
            "variant": self.variant,
            "settings": self.settings.model_dump(),
            "seed": self.seed,
            "shuffle_buffer": self.shuffle_buffer,
        }


@dataclass(frozen=True)
class FoldPlan:
    """The same training run on all folds but one, for each fold. All have the same seed.

    images: number of training and validation images together.
    """

    variant: str
    settings: VariantSettings
    seed: int
    total: int
    images: int
    device: DeviceKind
    shuffle_buffer: ClassVar[Literal["all"]] = "all"
    looks_back: ClassVar[bool] = False

    @classmethod
    def of(cls, settings: Settings, variant: str, total: int, images: int) -> Self:
        """Return the plan from params.yaml. Raises SettingsError if it has no such folds."""
        chosen = settings.variant(variant)
        if settings.shuffle_buffer != "all":
            raise SettingsError(
                "shuffle_buffer must be all with --folds, because folds are not read from a file, "
                f"got {settings.shuffle_buffer}"
            )
        if total > images:
            raise SettingsError(
                f"--folds must be at most {images}, the number of training and validation images, "
                f"got {total}"
            )
        return cls(variant, chosen, settings.seed, total, images, device_kind(settings))

    @property
    def parallel(self) -> int:
        """All folds, because none depends on another."""
        return self.total

    @property
    def tried(self) -> dict[str, BaseDistribution]:
        """The search space: only the fold differs."""
        return {"fold": IntDistribution(1, self.total)}

    def choose(self, before: Sequence[FrozenTrial]) -> dict[str, Any]:
        """Return the next fold."""
        return {"fold": 1 + len(before)}

    def job(
        self,
        params: dict[str, Any],
        before: Sequence[FrozenTrial],  # noqa: ARG002  # folds are independent
    ) -> Job:
        """Return the job that is validated on the chosen fold."""
        fold = Fold(params["fold"], self.total, self.seed)
        return Job(self.settings, self.seed, self.device, fold=fold)

    def label(self, trial: FrozenTrial) -> str:
        """Return the number of a fold as its name."""
        return f"fold {trial.params['fold']}"

    def description(self) -> dict[str, Any]:
        """Return the settings, with the number of folds: another number has other folds."""
        return {
            "variant": self.variant,
            "settings": self.settings.model_dump(),
            "seed": self.seed,
            "folds": self.total,
        }


Plan = SweepPlan | RepeatPlan | FoldPlan
