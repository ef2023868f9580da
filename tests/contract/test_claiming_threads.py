"""Contract of `concurrent.futures.Executor` that claiming relies on, for a real thread and the test doubles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import pytest

from tests.support.claiming import AtOnce, Later


@dataclass
class Bench:
    """An executor; `go` makes a test double run its oldest pending call."""

    thread: Executor
    go: Callable[[], None] = lambda: None

    def finish(self, *futures: Future[object]) -> None:
        for _ in futures:
            self.go()
        wait(futures)


@pytest.fixture(params=["a thread", "at once", "later"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    if request.param == "a thread":
        with ThreadPoolExecutor(1) as thread:
            yield Bench(thread)
    elif request.param == "at once":
        yield Bench(AtOnce())
    else:
        later = Later()
        yield Bench(later, later.go)


def test_calls_run_in_order_and_each_has_a_result(bench: Bench) -> None:
    made: list[int] = []

    def call(number: int, *, times: int) -> object:
        made.append(number)
        return number * times

    futures = [bench.thread.submit(call, number, times=10) for number in (1, 2, 3)]
    bench.finish(*futures)
    assert made == [1, 2, 3]
    assert [f.result() for f in futures] == [10, 20, 30]


def test_an_exception_of_a_call_is_raised_by_its_result_only(bench: Bench) -> None:
    def fail() -> object:
        raise ValueError("no")

    def succeed() -> object:
        return "yes"

    futures = [bench.thread.submit(fail), bench.thread.submit(succeed)]
    bench.finish(*futures)
    with pytest.raises(ValueError, match="no"):
        futures[0].result()
    assert futures[1].result() == "yes"


def test_callbacks_run_after_the_result_is_available(bench: Bench) -> None:
    told: list[object] = []
    future: Future[object] = bench.thread.submit(lambda: "yes")
    future.add_done_callback(lambda done: told.append(done.result()))
    bench.finish(future)
    bench.thread.shutdown()
    assert told == ["yes"]
