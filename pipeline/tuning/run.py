"""The loop that keeps all workers busy until every trial of a plan is finished."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from optuna.trial import FrozenTrial

from pipeline.base.errors import DataError
from pipeline.tuning.cluster import Cluster, open_cluster
from pipeline.tuning.fingerprint import own_fingerprint
from pipeline.tuning.plan import Plan, known_before
from pipeline.tuning.store import TrialStore, digest_of, open_store, outcome_of
from pipeline.tuning.trial import Job, Outcome
from pipeline.tuning.worker import TrialData


def run_trials(
    plan: Plan,
    splits: Path,
    root: Path,
    report: Callable[[str], None],
    address: str | None = None,
    workers: int | None = None,
    *,
    processes: bool = True,
    ended: Callable[[str, Job, Outcome], None] | None = None,
) -> list[FrozenTrial]:
    """Run the trials of a plan that are not yet stored in `root`; return all trials in order.

    splits: folder with train.parquet and validation.parquet. report: called with one line per
    trial. address: of a Dask scheduler; None starts local workers. workers: how many, by default
    one per core, or one for a GPU. processes: if False, local workers are threads of this process.
    ended: called with the name, the job and the outcome of each trial that ends now.
    """
    training, validation = (
        _content(splits / f"{part}.parquet") for part in ("train", "validation")
    )
    fingerprint = own_fingerprint()
    description = plan.description() | {
        "data": [hashlib.sha256(part).hexdigest() for part in (training, validation)],
        "fingerprint": asdict(fingerprint),
    }
    with open_store(root, description) as store:
        finished = _finished(plan, store)
        if finished:
            report(f"{finished} of {plan.total} trials already finished")
        if finished < plan.total:
            if address is not None:
                report(f"looking for workers at {address}")
            data = TrialData(
                training, validation, fingerprint, in_memory=plan.shuffle_buffer == "all"
            )
            name = f"trial-{digest_of(description)}"
            if plan.device == "gpu":  # each process takes some of the GPU's memory
                workers = workers or 1
            with open_cluster(address, workers, name, data, processes=processes) as cluster:
                report(_start(plan, cluster))
                for trial in run_plan(plan, store, cluster):
                    report(f"{_progress(plan, trial)}; {_finished(plan, store)} of {plan.total}")
                    if ended is not None:
                        name = plan.label(trial).partition(" (")[0]
                        ended(name, plan.job(trial.params, ()), outcome_of(trial))
        elif address is not None:
            report(f"no trials left to run, did not connect to {address}")
        return store.trials[: plan.total]


def run_plan(plan: Plan, store: TrialStore, cluster: Cluster) -> Iterator[FrozenTrial]:
    """Run the unfinished trials, yielding each when it is finished and stored."""
    while True:
        for _ in range(cluster.free()):
            number = _next(plan, store, cluster.running)
            if number is None:
                break
            before = store.trials[:number]
            if plan.looks_back:
                before = known_before(number, plan.parallel, store.trials)
            if number == len(store.trials):
                store.add(plan.choose(before), plan.tried)
            cluster.submit(number, plan.job(store.trials[number].params, before))
        if not cluster.running:
            return
        for number, outcome in cluster.finished():
            yield store.finish(number, outcome)


def _next(plan: Plan, store: TrialStore, running: set[int]) -> int | None:
    """Return the first trial that is neither finished nor running, if it can be chosen already."""
    unfinished = [n for n, trial in enumerate(store.trials) if not trial.state.is_finished()]
    for number in [*unfinished, len(store.trials)]:
        if number not in running and number < plan.total:
            oldest = unfinished[0] if unfinished else number
            return number if oldest > number - plan.parallel else None
    return None


def _finished(plan: Plan, store: TrialStore) -> int:
    return sum(trial.state.is_finished() for trial in store.trials[: plan.total])


def _start(plan: Plan, cluster: Cluster) -> str:
    threads = cluster.threads()
    idle = f", of which {plan.parallel} run at a time" if threads > plan.parallel else ""
    return f"{threads} worker{'s' if threads > 1 else ''}{idle}"


def _progress(plan: Plan, trial: FrozenTrial) -> str:
    outcome = outcome_of(trial)
    if outcome.state == "failed":
        return f"{plan.label(trial)} failed: {outcome.reason}"
    text = f"{plan.label(trial)}: validation accuracy {outcome.accuracy:.2%}"
    if outcome.state == "pruned":
        text += f", pruned after {len(outcome.accuracies)} epochs"
    return text


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; make it with: dvc repro split") from error
