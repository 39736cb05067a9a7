"""Heavy pages are answered one after the other, and none keeps the others waiting for long."""

from __future__ import annotations

import threading
import time

from exeml_site.lib.fair_lock import MAX_HOLD_S, FairLock, with_fair_lock

LONG = 60.0


def test_who_came_first_goes_first_and_alone() -> None:
    turns, order, at_once = FairLock(LONG), [], []
    begun = threading.Event()

    def work(number: int) -> None:
        with turns.one():
            begun.set()
            order.append(number)
            at_once.append(len(order))
            if number == 0:
                while len(turns._waiting) < len(threads) - 1:
                    time.sleep(0.001)
            assert order[-1] == number, "nobody else began meanwhile"

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    threads[0].start()
    begun.wait(LONG)
    for place, thread in enumerate(threads[1:]):
        thread.start()
        while len(turns._waiting) <= place and thread.is_alive():
            time.sleep(0.001)
    for thread in threads:
        thread.join(LONG)
    assert order == [0, 1, 2, 3, 4, 5] and at_once == [1, 2, 3, 4, 5, 6]


def test_one_that_takes_long_loses_its_turn_and_not_its_place_in_the_line() -> None:
    turns, passed, is_done = FairLock(0.05), threading.Event(), threading.Event()

    def slow() -> None:
        with turns.one():
            passed.wait(LONG)
        is_done.set()

    worker = threading.Thread(target=slow)
    worker.start()
    while turns._at_work is None:
        time.sleep(0.001)
    with turns.one():  # begins beside the slow one
        passed.set()
        worker.join(LONG)
        assert is_done.is_set() and turns._at_work is not None, "its end does not end the turn of another"
    assert turns._at_work is None


def test_an_error_ends_the_turn() -> None:
    turns = FairLock(LONG)
    try:
        with turns.one():
            raise ValueError
    except ValueError:
        pass
    with turns.one():
        assert turns._at_work is not None


def test_views_of_a_process_share_the_turns() -> None:
    @with_fair_lock
    def view(number: int, *, seconds: float) -> None:
        order.append(number)
        time.sleep(seconds)
        order.append(-number)

    order: list[int] = []
    threads = [
        threading.Thread(target=view, args=(number,), kwargs={"seconds": MAX_HOLD_S / 10})
        for number in (1, 2, 3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG)
    assert [order[at] for at in (1, 3, 5)] == [-order[at] for at in (0, 2, 4)], "one within another"
