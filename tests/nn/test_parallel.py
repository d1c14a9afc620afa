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


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_phase_begins_before_both_sides_ended_the_one_before(threads):
    log = []
    with Workers(CPU, threads) as workers:
        for _ in range(200):
            workers.in_step(*[lambda side, phase=phase: log.append(phase) for phase in range(3)])
    assert log == [0, 0, 1, 1, 2, 2] * 200


def test_two_sides_run_in_two_threads():
    seen = {}
    with Workers(CPU, 2) as workers:
        workers.in_step(lambda side: seen.update({side: threading.get_ident()}))
    assert seen[0] == threading.get_ident() != seen[1]


class OnPurposeError(Exception):
    pass


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("phase", [0, 1, 2])
@pytest.mark.parametrize("side", [0, 1])
def test_a_failure_on_either_side_ends_all_phases_and_is_raised(threads, phase, side):
    def phase_that_fails(number):
        if number == side:
            raise OnPurposeError

    phases = [lambda number: None] * 3
    phases[phase] = phase_that_fails
    with Workers(CPU, threads) as workers:
        for _ in range(20):
            with pytest.raises(OnPurposeError):
                workers.in_step(*phases)
        workers.in_step(lambda number: None)


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
