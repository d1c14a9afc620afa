"""Whole sweeps on Dask workers in this process: tried, stored, pruned and resumed trials."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from optuna.trial import TrialState

from pipeline.datasets.parquet import open_examples, read_examples
from pipeline.nn.devices import CPU
from pipeline.nn.streaming import hold, training_set
from pipeline.nn.training import Training, make_network
from pipeline.tuning import folds, run, worker
from pipeline.tuning.folds import Fold, fold_sizes
from pipeline.tuning.plan import FoldPlan, RepeatPlan
from pipeline.tuning.store import outcome_of
from tests.tuning.conftest import SMALL, plan_of

STEEP = {"lr": {"low": 0.0001, "high": 1, "log": True}}


def facts(trials):
    return [(t.number, t.state, t.params, t.value, t.user_attrs["outcome"]) for t in trials]


@pytest.mark.parametrize(
    ("epochs", "most"),
    [(None, 3), ([2, 9, 4], 9), ({"low": 2, "high": 8, "step": 3}, 8)],
)
def test_a_pruner_knows_the_most_epochs_that_a_trial_may_have(epochs, most):
    plan = plan_of(STEEP | ({"epochs": epochs} if epochs else {}), pruner="hyperband")
    params = plan.choose([])
    assert plan.job(params, []).pruning.epochs == most
    assert plan.job(params, []).settings.epochs <= most


@pytest.mark.parametrize(
    "pruner",
    [
        pytest.param("none", marks=pytest.mark.slow),
        "median",
        pytest.param("hyperband", marks=pytest.mark.slow),
    ],
)
def test_any_number_of_workers_gives_the_same_trials_and_results(sweep, pruner):
    base = SMALL.model_copy(update={"epochs": 9})
    plan = plan_of(STEEP, base, pruner=pruner, trials=20)
    alone, _ = sweep(plan, workers=1, folder="alone")
    together, _ = sweep(plan, workers=3, folder="together")
    assert facts(alone) == facts(together)
    assert [trial.number for trial in alone] == list(range(20))
    ended = [outcome_of(trial) for trial in alone]
    pruned = [outcome for outcome in ended if outcome.state == "pruned"]
    assert bool(pruned) == (pruner != "none")
    assert all(len(outcome.accuracies) < 9 for outcome in pruned)
    assert all(len(outcome.accuracies) == 9 for outcome in ended if outcome not in pruned)


def test_trials_learn_from_earlier_ones_but_not_from_those_running_at_the_same_time(sweep):
    first, _ = sweep(plan_of(parallel=1), folder="one")
    wide, _ = sweep(plan_of(parallel=16), folder="sixteen")
    assert [t.params for t in first[:10]] == [t.params for t in wide[:10]]  # chosen at random
    assert [t.params for t in first[10:]] != [t.params for t in wide[10:]]


def test_another_seed_tries_other_settings(sweep):
    plan = plan_of(sampler="random", trials=3)
    first, _ = sweep(plan, folder="first")
    second, _ = sweep(replace(plan, seed=1), folder="second")
    assert not {t.params["lr"] for t in first} & {t.params["lr"] for t in second}


def test_a_random_trial_depends_on_its_number_alone_and_looks_at_no_other():
    plan = plan_of(sampler="random", trials=10_000)
    assert plan.choose(range(9_999)) == plan.choose(range(9_999)) != plan.choose(range(9_998))


def test_a_grid_tries_every_combination_once(sweep):
    plan = plan_of({"lr": [0.1, 0.2], "batch_size": [20, 50, "all"]}, sampler="grid")
    trials, lines = sweep(plan)
    tried = {(t.params["lr"], t.params["batch_size"]) for t in trials}
    assert len(trials) == len(tried) == 6
    assert lines[0] == "2 workers"
    assert lines[-1].endswith("; 6 of 6")


def test_a_failed_trial_is_stored_with_its_reason_and_the_sweep_continues(sweep):
    settings = {"lr": [0.1, 1e30], "hidden": [[8], [10**6, 10**6]]}
    trials, lines = sweep(plan_of(settings, sampler="grid"))
    by_params = {(t.params["lr"], t.params["hidden"]): t for t in trials}
    assert by_params[0.1, "[8]"].state == TrialState.COMPLETE
    diverged = outcome_of(by_params[1e30, "[8]"])
    assert diverged.state == "failed"
    assert diverged.reason.startswith("the training cost is nan in epoch 1 with lr 1e+30")
    too_large = outcome_of(by_params[0.1, "[1000000, 1000000]"])
    assert "needs about" in too_large.reason
    assert "\n" not in too_large.reason
    assert sum("failed: " in line for line in lines) == 3


def test_a_finished_sweep_runs_nothing_and_can_be_extended(sweep):
    plan = plan_of(trials=12)
    shorter = replace(plan, space=plan.space.model_copy(update={"trials": 5}))
    first, _ = sweep(shorter)
    again, lines = sweep(shorter)
    assert facts(again) == facts(first)
    assert lines == ["5 of 5 trials already finished"]
    _, lines = sweep(shorter, address="tcp://nobody:1")
    assert lines[1:] == ["no trials left to run, did not connect to tcp://nobody:1"]
    more, lines = sweep(plan)
    assert lines[0] == "5 of 12 trials already finished"
    assert len([line for line in lines if line.startswith("trial")]) == 7
    assert facts(more) == facts(sweep(plan, folder="at once")[0])


@pytest.mark.parametrize(
    "plan",
    [plan_of(), pytest.param(plan_of(STEEP, pruner="median", trials=20), marks=pytest.mark.slow)],
    ids=["to their end", "pruned"],
)
def test_a_sweep_stopped_anywhere_continues_to_the_same_result(sweep, monkeypatch, plan):
    undisturbed, _ = sweep(plan, folder="undisturbed")
    calls = []

    def finish_or_stop(store, number, outcome):
        calls.append(number)
        if len(calls) in {3, 9}:
            raise KeyboardInterrupt
        return keep(store, number, outcome)

    keep = run.TrialStore.finish
    monkeypatch.setattr(run.TrialStore, "finish", finish_or_stop)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sweep(plan)
    trials, lines = sweep(plan)
    assert facts(trials) == facts(undisturbed)
    assert lines[0] == f"7 of {plan.total} trials already finished"
    assert len(calls) == plan.total + 2


def test_the_data_are_sent_to_each_worker_once_for_all_its_trials(sweep, monkeypatch):
    read = []

    def read_and_count(path):
        read.append(path.name)
        return read_examples(path)

    monkeypatch.setattr(worker, "read_examples", read_and_count)
    sweep(plan_of(trials=8), workers=2)
    assert sorted(read) == ["training.parquet"] * 2 + ["validation.parquet"] * 2


@pytest.mark.parametrize("buffer", ["all", 100])
def test_a_trial_gives_the_same_result_as_the_pipeline_with_its_settings(sweep, splits, buffer):
    plan = replace(plan_of({"lr": [0.3]}, sampler="grid", seed=2), shuffle_buffer=buffer)
    (trial,), _ = sweep(plan)
    settings = SMALL.model_copy(update={"lr": 0.3})
    training = open_examples(splits / "train.parquet")
    held_out = read_examples(splits / "validation.parquet")
    network, rng = make_network(settings, 10, 2)
    engine = CPU.engine(network, settings, threads=2)
    images = training_set(engine, training, buffer)
    pipelines = Training(engine, settings, images, hold(engine, held_out), rng)
    scores = [report.validation for report in pipelines.epochs()]
    assert outcome_of(trial).accuracies == [score.accuracy for score in scores]
    assert outcome_of(trial).cost == scores[-1].cost


def test_repeats_differ_only_in_their_seed(sweep):
    plan = RepeatPlan("small", SMALL, seed=5, total=4, device="cpu")
    trials, lines = sweep(plan)
    assert [trial.params for trial in trials] == [{"seed": seed} for seed in (5, 6, 7, 8)]
    assert len({trial.value for trial in trials}) > 1
    assert any(line.startswith("seed 8: validation accuracy") for line in lines)
    swept, _ = sweep(plan_of({"lr": [0.1]}, seed=7, sampler="grid"), folder="swept")
    assert swept[0].value == trials[2].value


PARTS = ("train", "validation")
FOLDS = FoldPlan("small", SMALL, seed=5, total=4, images=600, device="cpu")


def test_folds_hold_every_image_once_in_equal_parts_and_train_on_all_others(splits):
    training, validation = (
        read_examples(splits / f"{of}.parquet") for of in ("train", "validation")
    )
    everything = np.concatenate([training.inputs, validation.inputs])
    labels = np.concatenate([training.labels, validation.labels])
    seen = []
    for number in range(1, 8):
        others, own = Fold(number, 7, seed=5).of(training, validation)
        assert len(own) == fold_sizes(600, 7)[number - 1]
        assert len(own) in {85, 86}
        assert sorted([*others.rows, *own.rows]) == list(range(600))
        seen += own.rows.tolist()
        for part in (others, own, others.first(300)):
            np.testing.assert_array_equal(part.labels, labels[part.rows])
            blocks = list(part.blocks())
            inputs = np.concatenate([block.inputs for block in blocks])
            np.testing.assert_array_equal(inputs, everything[part.rows])
            given = np.concatenate([block.labels for block in blocks])
            np.testing.assert_array_equal(given, labels[part.rows])
    assert seen != sorted(seen)
    assert sorted(seen) == list(range(600))


def test_folds_are_gathered_in_blocks_and_read_from_a_file_to_the_same_images(splits, monkeypatch):
    training, validation = (
        open_examples(splits / f"{of}.parquet") for of in ("train", "validation")
    )
    monkeypatch.setattr(folds, "BLOCK", 70)
    from_file, _ = Fold(1, 3, seed=0).of(training, validation.read())
    in_memory, _ = Fold(1, 3, seed=0).of(training.read(), validation.read())
    sizes = []
    for one, other in zip(from_file.blocks(), in_memory.blocks(), strict=True):
        np.testing.assert_array_equal(one.inputs, other.inputs)
        sizes.append(len(one))
    assert sizes == [70] * 5 + [50]


def test_a_fold_is_trained_as_the_pipeline_trains_on_those_images(sweep, splits):
    limited = SMALL.model_copy(update={"train_limit": 300, "epochs": 2, "epochs_for": 1200})
    trials, _ = sweep(replace(FOLDS, settings=limited))
    training, validation = (
        read_examples(splits / f"{of}.parquet") for of in ("train", "validation")
    )
    others, own = Fold(2, 4, seed=5).of(training, validation)
    chosen = limited.on(300)
    assert chosen.epochs == 4
    network, rng = make_network(chosen, 10, 5)
    engine = CPU.engine(network, chosen, threads=2)
    images = training_set(engine, others.first(300))
    run = Training(engine, chosen, images, hold(engine, own), rng)
    scores = [report.validation.accuracy for report in run.epochs()]
    assert outcome_of(trials[1]).accuracies == scores


def test_any_number_of_workers_gives_the_same_folds_and_a_stopped_run_continues(sweep, monkeypatch):
    alone, lines = sweep(FOLDS, workers=1, folder="alone")
    assert [trial.params for trial in alone] == [{"fold": number} for number in (1, 2, 3, 4)]
    assert any(line.startswith("fold 4: validation accuracy") for line in lines)
    assert len({trial.value for trial in alone}) > 1
    keep = run.TrialStore.finish
    calls = []

    def finish_or_stop(store, number, outcome):
        calls.append(number)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return keep(store, number, outcome)

    monkeypatch.setattr(run.TrialStore, "finish", finish_or_stop)
    with pytest.raises(KeyboardInterrupt):
        sweep(FOLDS, workers=3)
    together, lines = sweep(FOLDS, workers=3)
    assert lines[0] == "1 of 4 trials already finished"
    assert facts(together) == facts(alone)


def test_another_number_of_folds_another_seed_and_repeats_have_other_trials(sweep):
    sweep(FOLDS)
    for plan in (replace(FOLDS, total=2), replace(FOLDS, seed=6)):
        assert "already finished" not in sweep(plan)[1][0]
    repeats = RepeatPlan("small", SMALL, seed=5, total=2, device="cpu")
    assert "already finished" not in sweep(repeats)[1][0]


@pytest.mark.parametrize(
    ("threads", "line"),
    [(1, "1 worker"), (2, "2 workers"), (3, "3 workers, of which 2 run at a time")],
)
def test_a_sweep_says_how_many_workers_it_has_and_how_many_of_them_it_uses(threads, line):
    plan, cluster = SimpleNamespace(parallel=2), SimpleNamespace(threads=lambda: threads)
    assert run._start(plan, cluster) == line
