import threading

import pytest

from pipeline.nn.backend import CPU
from pipeline.nn.parallel import TILE_ROWS, Workers


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_task_runs_once(threads):
    done = []
    with Workers(CPU, threads) as workers:
        for count in (1, 2, 7, 100):
            workers.run(done.append, count)
            assert sorted(done) == list(range(count))
            done.clear()


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_results_come_in_the_order_of_the_tiles(threads):
    with Workers(CPU, threads) as workers:
        starts = list(workers.map(lambda tile: tile.start, 10 * TILE_ROWS))
    assert starts == sorted(starts)
    assert len(starts) > 1


@pytest.mark.parametrize("rows", [1, 512, 513, 5000, 15000, 55000, 60000])
def test_tiles_cover_all_rows_once_and_differ_by_one_row_at_most(rows):
    tiles = Workers(CPU, 1).tiles(rows)
    assert [tile.start for tile in tiles[1:]] == [tile.stop for tile in tiles[:-1]]
    assert (tiles[0].start, tiles[-1].stop) == (0, rows)
    sizes = {tile.stop - tile.start for tile in tiles}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= TILE_ROWS


def rounds(workers, count, **phases):
    """Go through so many rounds, with some phases in the place of idle ones; give the log."""
    log, items = [], iter(range(1, count))

    def phase(name):
        def called(*arguments):
            phases.get(name, lambda *arguments: None)(*arguments)
            log.append((name, *arguments))

        return called

    def following():
        phases.get("following", lambda: None)()
        return next(items, None)

    workers.in_rounds(0, phase("first"), phase("alone"), following, phase("last"))
    return log


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_phase_of_a_round_begins_before_the_one_before_has_ended(threads):
    with Workers(CPU, threads) as workers:
        log = rounds(workers, 500)
    expected = [
        step
        for item in range(500)
        for step in (
            {("first", item, 0), ("first", item, 1)}, {("alone", item)},
            {("last", item, 0), ("last", item, 1)},
        )
    ]  # fmt: skip
    for step in expected:
        done, log = log[: len(step)], log[len(step) :]
        assert set(done) == step
    assert log == []


@pytest.mark.parametrize("later", [0, 1])
def test_the_thread_that_comes_last_goes_on_alone_and_the_other_fetches(later):
    earlier_is_there, ran = threading.Event(), {}

    def first(_, part):
        ran[part] = threading.get_ident()
        if part == later:
            earlier_is_there.wait()

    def following():
        ran["following"] = threading.get_ident()
        earlier_is_there.set()

    def alone(_):
        ran["alone"] = threading.get_ident()

    with Workers(CPU, 2) as workers:
        rounds(workers, 1, first=first, following=following, alone=alone)
    assert ran["alone"] == ran[later]
    assert ran["following"] == ran[1 - later]
    assert threading.get_ident() == ran[0] != ran[1]


class OnPurposeError(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("name", "failing"),
    [
        ("first", (3, 0)), ("first", (3, 1)), ("alone", (3,)), ("following", ()),
        ("last", (3, 0)), ("last", (3, 1)),
    ],
)  # fmt: skip
def test_a_failure_in_a_round_ends_all_and_is_raised(threads, name, failing):
    def fail(*arguments):
        if arguments == failing:
            raise OnPurposeError

    with Workers(CPU, threads) as workers:
        for _ in range(20):
            with pytest.raises(OnPurposeError):
                rounds(workers, 10, **{name: fail})
        assert len(rounds(workers, 10)) == 50


@pytest.mark.parametrize("threads", [1, 2, 8])
def test_a_task_that_fails_stops_the_rest_and_is_raised(threads):
    done = []

    def task(index):
        if index == 3:
            raise OnPurposeError
        done.append(index)

    with Workers(CPU, threads) as workers:
        with pytest.raises(OnPurposeError):
            workers.run(task, 1000)
        assert len(done) < 1000
        done.clear()
        workers.run(done.append, 5)
    assert sorted(done) == list(range(5))


def test_threads_end_with_the_workers():
    before = threading.active_count()
    with Workers(CPU, 8):
        assert threading.active_count() == before + 7
    assert threading.active_count() == before
