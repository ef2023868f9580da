"""Threads take turns: one at a time, in the order of asking, and nobody is left out after an error."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import nullcontext

import pytest

from dropscribe.engine.core.turns import TURNS, Turns, launching

LONG_S = 20.0


class Queue(deque[tuple[int, threading.Lock]]):
    """The queue of those who wait; says when somebody has joined it."""

    def __init__(self) -> None:
        super().__init__()
        self.joined = threading.Semaphore(0)

    def append(self, waiting: tuple[int, threading.Lock]) -> None:
        super().append(waiting)
        self.joined.release()


def test_those_who_wait_go_in_the_order_in_which_they_asked() -> None:
    turns, order = Turns(LONG_S), []
    turns._waiting = queue = Queue()

    def work(number: int) -> None:
        with turns:
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(5)]
    with turns:
        for thread in threads:
            thread.start()
            assert queue.joined.acquire(timeout=LONG_S)
        assert order == [], "nobody goes before the owner has ended"
    for thread in threads:
        thread.join(LONG_S)
    assert order == [0, 1, 2, 3, 4]


def test_who_has_waited_long_goes_on_and_ends_nobody_elses_turn() -> None:
    turns = Turns(0.0)
    turns._waiting = queue = Queue()
    went, done = threading.Event(), threading.Event()

    def impatient() -> None:
        with turns:
            went.set()

    def patient() -> None:
        turns._longest_s = LONG_S
        with turns:
            done.set()

    with turns:
        first, second = threading.Thread(target=impatient), threading.Thread(target=patient)
        first.start()
        assert went.wait(LONG_S), "beside the owner"
        first.join(LONG_S)
        assert queue.joined.acquire(timeout=LONG_S)
        second.start()
        assert queue.joined.acquire(timeout=LONG_S)
        assert not done.is_set(), "the turn of the owner goes on"
    assert done.wait(LONG_S)
    second.join(LONG_S)
    with turns:
        pass


def test_two_are_never_in_their_turn_at_once() -> None:
    turns, inside, most = Turns(LONG_S), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(2000):
            with turns:
                inside += 1
                most = max(most, inside)
                inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_S)
    assert (most, inside) == (1, 0)


def test_an_error_ends_a_turn() -> None:
    turns = Turns()
    with pytest.raises(OSError, match="full"), turns:
        raise OSError("full")
    with turns:
        pass


def test_what_a_cpu_computes_takes_no_turn_and_launches_on_a_gpu_do() -> None:
    def taken() -> bool:
        return TURNS._owner is not None

    with launching(None):
        assert not taken()
    with launching(nullcontext()):
        assert taken()
    assert not taken()
