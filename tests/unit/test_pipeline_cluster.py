"""The head of a cluster: which station gets an attempt, and what becomes of it when its station fails. No Ray, no clock."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from dropscribe.config import Settings
from dropscribe.errors import EngineError, RecordingGoneError
from dropscribe.pipeline.assembly import Result
from dropscribe.pipeline.attempt import Outcome, Work
from dropscribe.pipeline.cluster.cluster_executor import (
    BLIND_S,
    GONE_NODE_S,
    GONE_S,
    LOST_S,
    REFUSED_S,
    RENEW_S,
    ClusterExecutor,
)
from dropscribe.pipeline.cluster.ray_cluster import join, not_joined, plain
from dropscribe.pipeline.problem import FaultKind, Problem
from dropscribe.pipeline.station import State
from dropscribe.pipeline.stations.hosted_station import STOCK_S, Pace
from dropscribe.pipeline.stations.losses import MOST_LOSSES
from dropscribe.pipeline.stations.remote_station import AGAIN_S, SILENT_S, OutOfReachError
from tests.support.ledgers import MEDIA, TIMINGS
from tests.support.stations import FakeCluster, FakeLink, FakeNode

DONE = Result(MEDIA, (), TIMINGS)
GONE = Problem.of(RecordingGoneError("the file is no longer there"))


class Head:
    """A cluster of two nodes, `a` and `b`, under a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.cluster = FakeCluster("a", "b")
        self.executor = ClusterExecutor(self.cluster, lambda: self.now)

    def link(self, name: str) -> FakeLink:
        return self.cluster.links[name][-1]

    def ready(self, *names: str) -> None:
        self.executor.turn(0.0)
        for name in names:
            self.link(name).be_examined()
        self.executor.turn(0.0)
        for name in names:
            if "report" in self.link(name).calls:  # it was not refused
                self.link(name).say()
        self.executor.turn(0.0)

    def start(self, ticket: int) -> str:
        """Start an attempt; returns the node that got it."""
        self.executor.start(Work(ticket, Path(f"/drop/{ticket}.wav"), None, folder=Path("/drop")))
        self.executor.turn(0.0)
        return self.holder(ticket)

    def holder(self, ticket: int) -> str:
        return next(
            name
            for name, links in self.cluster.links.items()
            if any(w.ticket == ticket for orders in links[-1].orders for w in orders.start)
        )

    def wait(self, seconds: float, *heard: str) -> list[Outcome]:
        """Let time pass in turns of a second; the stations of `heard` say something in each."""
        ended = []
        for _ in range(round(seconds)):
            self.now += 1.0
            for name in heard:
                self.link(name).say()
            ended += self.executor.turn(0.0)
        return ended

    def reasons(self) -> dict[str, str]:
        return {s.name: s.reason for s in self.executor.stations()}

    def states(self) -> dict[str, State]:
        return {s.name: s.state for s in self.executor.stations()}


@pytest.fixture
def head() -> Iterator[Head]:
    made = Head()
    yield made
    assert made.executor.close()


def other(name: str) -> str:
    return {"a": "b", "b": "a"}[name]


def test_a_killed_station_costs_its_own_attempts_and_no_others(head: Head) -> None:
    head.ready("a", "b")
    holders = {ticket: head.start(ticket) for ticket in range(1, 7)}
    assert set(holders.values()) == {"a", "b"}
    head.link("a").answer("report", None, RuntimeError("the actor died"))
    ended = head.executor.turn(0.0)
    assert {o.ticket for o in ended} == {t for t, n in holders.items() if n == "a"}
    assert {o.end.kind for o in ended if isinstance(o.end, Problem)} == {FaultKind.NODE}
    assert head.states() == {"a": State.LOST, "b": State.READY}
    head.link("b").say(*((n, Outcome(t, DONE)) for n, t in enumerate(sorted(holders), 1)))
    done = {o.ticket for o in head.executor.turn(0.0)}
    assert done == {t for t, n in holders.items() if n == "b"}


def test_a_lost_station_is_started_anew_and_what_the_old_one_says_late_is_ignored(head: Head) -> None:
    head.ready("a", "b")
    name = head.start(1)
    old = head.link(name)
    ended = head.wait(LOST_S + 1, other(name))
    assert [o.ticket for o in ended] == [1]
    assert old.killed
    head.wait(RENEW_S + 1, other(name))
    assert head.link(name) is not old
    head.ready(name)
    old.say((1, Outcome(1, DONE)))
    assert head.executor.turn(0.0) == []
    assert set(head.states().values()) == {State.READY}


def test_a_silent_station_gets_no_further_work_and_goes_on_when_it_answers(head: Head) -> None:
    head.ready("a", "b")
    ticket_holder = head.start(1)
    head.wait(SILENT_S + 1, other(ticket_holder))
    assert head.states()[ticket_holder] is State.SILENT
    assert head.start(2) == other(ticket_holder)
    head.link(ticket_holder).say((1, Outcome(1, DONE)))
    assert [o.ticket for o in head.executor.turn(0.0)] == [1]
    assert head.states()[ticket_holder] is State.READY


def test_work_is_spread_by_the_room_that_stations_have(head: Head) -> None:
    head.ready("a", "b")
    head.link("a").say(room=6)
    head.link("b").say(room=3)
    head.executor.turn(0.0)
    assert head.executor.room() == 9
    for ticket in range(1, 8):
        head.executor.start(Work(ticket, Path(f"/drop/{ticket}.wav"), None))
    assert head.executor.room() == 2
    head.executor.abort(7)
    head.executor.turn(0.0)
    given = [sum(head.holder(ticket) == name for ticket in range(1, 7)) for name in ("a", "b")]
    assert given == [5, 1], "the one with more room first"
    assert head.executor.room() == 3


def test_work_that_no_station_can_take_any_more_waits_for_one(head: Head) -> None:
    head.ready("a")
    assert head.executor.room() == 4
    head.now += 10 * SILENT_S
    head.executor.start(Work(1, Path("/drop/1.wav"), None))
    assert head.executor.progress(1) is not None
    assert head.executor.turn(0.0) == []
    assert head.holder(1) == "a", "the head itself was stopped"


def test_a_station_out_of_reach_is_called_again_with_the_same_orders(head: Head) -> None:
    head.ready("a", "b")
    for name in ("a", "b"):
        head.link(name).holds_orders = True
    name = head.start(1)
    head.link(name).answer("feed", None, OutOfReachError("unavailable"))
    head.link(name).answer("report", None, OutOfReachError("unavailable"))
    head.now += AGAIN_S
    head.executor.turn(0.0)
    first, second = head.link(name).orders
    assert first == second
    head.link(name).say((1, Outcome(1, DONE)))
    assert [o.ticket for o in head.executor.turn(0.0)] == [1]
    head.executor.turn(0.0)
    head.link(name).say((1, Outcome(1, DONE)))
    assert head.executor.turn(0.0) == [], "a repeated outcome counts once"


def test_orders_never_overtake_each_other(head: Head) -> None:
    head.ready("a")
    head.link("a").holds_orders = True
    for ticket in (1, 2):
        head.executor.start(Work(ticket, Path(f"/drop/{ticket}.wav"), None))
        head.executor.turn(0.0)
    assert [o.number for o in head.link("a").orders] == [1]
    head.link("a").answer("feed")
    head.executor.turn(0.0)
    assert [o.number for o in head.link("a").orders] == [1, 2]


def test_orders_go_along_with_a_question_and_are_repeated_with_it(head: Head) -> None:
    head.ready("a")
    link = head.link("a")
    link.holds_orders = True
    link.say()
    assert "report" not in link.calls, "it is asked again at the next turn, with what is started meanwhile"
    assert head.start(1) == "a"
    assert "feed" not in link.calls, "one call for both"
    link.answer("report", None, OutOfReachError("unavailable"))
    head.now += AGAIN_S
    head.executor.turn(0.0)
    first, second = link.orders
    assert first == second
    head.executor.start(Work(2, Path("/drop/2.wav"), None))
    head.executor.turn(0.0)
    assert [o.number for o in link.orders] == [1, 1], "none overtakes another"
    link.say((1, Outcome(1, DONE)))
    assert [o.ticket for o in head.executor.turn(0.0)] == [1]
    assert [o.number for o in link.orders] == [1, 1, 2]


def test_a_head_that_was_stopped_blames_no_station(head: Head) -> None:
    head.ready("a", "b")
    head.start(1)
    head.now += 10 * LOST_S
    assert head.executor.turn(0.0) == []
    assert set(head.states().values()) == {State.READY}


@pytest.mark.parametrize("wrong", ["version", "content", "authentication"])
def test_a_node_that_would_give_another_text_is_kept_out_with_the_reason(head: Head, wrong: str) -> None:
    head.ready("a")
    link = head.link("b")
    if wrong == "version":
        link.versions = link.versions | {"torch": "0.1"}
    elif wrong == "content":
        link.models = {"paraformer-zh": "f" * 64}
    else:
        link.mode = ""
    head.ready("b")
    refused = next(s for s in head.executor.stations() if s.name == "b")
    assert refused.state is State.REFUSED
    assert {"version": "torch", "content": "paraformer-zh", "authentication": "token"}[
        wrong
    ] in refused.reason
    assert head.start(1) == "a"
    head.wait(REFUSED_S + 1, "a")
    assert len(head.cluster.links["b"]) == 2, "it is examined again later"


def test_a_recording_that_one_node_does_not_see_goes_to_another(head: Head) -> None:
    head.ready("a", "b")
    first = head.start(1)
    head.link(first).say((1, Outcome(1, GONE)))
    assert head.executor.turn(0.0) == []
    second = other(first)
    assert [w.ticket for o in head.link(second).orders for w in o.start] == [1]
    assert head.start(2) == second, "nodes that see the folder come first"
    head.link(second).say((1, Outcome(1, DONE)))
    assert [o.end for o in head.executor.turn(0.0)] == [DONE]


def test_a_node_that_does_not_see_a_folder_is_named_with_the_reason_until_it_does(head: Head) -> None:
    head.ready("a", "b")
    blind = head.start(1)
    head.link(blind).say((1, Outcome(1, GONE)))
    head.executor.turn(0.0)
    assert head.reasons() == {"a": "", "b": ""}, "it may be gone for all"
    head.link(other(blind)).say((1, Outcome(1, DONE)))
    head.executor.turn(0.0)
    assert "/drop" in head.reasons()[blind]
    assert GONE.reason in head.reasons()[blind]
    assert head.reasons()[other(blind)] == ""
    head.wait(BLIND_S + 1, "a", "b")
    tickets = iter(range(2, 20))
    ticket = next(t for t in tickets if head.start(t) == blind)
    head.link(blind).say((2, Outcome(ticket, DONE)))
    head.executor.turn(0.0)
    assert head.reasons() == {"a": "", "b": ""}


@pytest.mark.parametrize("again", [True, False])
def test_a_lost_station_whose_node_has_left_is_forgotten_once_its_machine_is_back_or_a_day_later(
    head: Head, again: bool
) -> None:
    head.ready("a", "b")
    head.cluster.nodes = head.cluster.nodes[1:]
    head.wait(RENEW_S + 1, "b")
    assert head.states() == {"a": State.LOST, "b": State.READY}
    if again:
        head.cluster.nodes = (*head.cluster.nodes, FakeNode("a2", machine="a"))
        head.ready("a2")
        assert head.states() == {"a2": State.READY, "b": State.READY}
    else:
        head.now += GONE_NODE_S
        head.executor.turn(0.0)
        assert "a" not in head.states()


def test_a_recording_that_no_node_sees_is_not_to_blame_and_its_folder_is_named(head: Head) -> None:
    head.ready("a", "b")
    first = head.start(1)
    head.link(first).say((1, Outcome(1, GONE)))
    head.executor.turn(0.0)
    head.link(other(first)).say((1, Outcome(1, GONE)))
    (ended,) = head.executor.turn(0.0)
    assert isinstance(ended.end, Problem)
    assert ended.end.kind is FaultKind.STORAGE
    assert "/drop" in ended.end.remedy


def test_a_recording_that_lost_several_stations_is_suspected(head: Head) -> None:
    kinds = []
    for ticket in range(1, MOST_LOSSES + 1):
        head.ready("a")
        head.executor.start(Work(ticket, Path("/drop/same.wav"), None))
        head.executor.turn(0.0)
        head.link("a").answer("report", None, RuntimeError("the actor died"))
        kinds += [o.end.kind for o in head.executor.turn(0.0) if isinstance(o.end, Problem)]
        head.wait(RENEW_S + 1)
    assert kinds == [FaultKind.NODE, FaultKind.NODE, FaultKind.ENGINE]


def test_a_node_that_leaves_costs_its_attempts_and_may_come_back(head: Head) -> None:
    head.ready("a")
    head.start(1)
    nodes, head.cluster.nodes = head.cluster.nodes, ()
    assert [o.ticket for o in head.executor.turn(0.0)] == [1]
    assert head.executor.room() == 0
    head.cluster.nodes = nodes
    head.wait(RENEW_S + 1)
    head.ready("a")
    assert head.start(2) == "a"


def test_a_cluster_that_does_not_answer_any_more_is_left_with_what_to_do(head: Head) -> None:
    head.ready("a", "b")
    head.start(1)
    head.cluster.answers = False
    assert head.wait(GONE_S, "a", "b") == [], "stations go on meanwhile"
    head.now += 10 * GONE_S
    assert head.executor.turn(0.0) == [], "the daemon itself was stopped"
    with pytest.raises(EngineError, match="head has not answered") as gone:
        head.wait(GONE_S + 1, "a", "b")
    assert "start Ray again" in gone.value.remedy


def test_a_cluster_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setitem(sys.modules, "ray", None)
    settings = Settings.model_validate({"cluster": {"address": "head.example.org:6379"}})
    with pytest.raises(EngineError, match="not installed") as refused:
        join(settings)
    assert "dropscribe[ray]" in refused.value.remedy


def test_nodes_without_a_gpu_rest_once_there_is_one_with_a_gpu(head: Head) -> None:
    head.ready("a")
    assert head.start(1) == "a"
    head.cluster.nodes = (*head.cluster.nodes, FakeNode("gpu", gpus=1))
    ended = head.executor.turn(0.0)
    assert [o.ticket for o in ended] == [1], "it is recognised again, on the GPU"
    head.ready("gpu")
    assert head.states() == {"a": State.REFUSED, "b": State.REFUSED, "gpu": State.READY}
    head.wait(2 * REFUSED_S, "gpu")
    assert head.start(2) == "gpu"


def test_a_station_whose_orders_take_no_time_has_little_in_advance_only_if_it_is_fast() -> None:
    pace = Pace(0, 0.0, worthwhile=8)
    for second in range(1, 10):
        pace.add(10, float(second))
    assert pace.stock == 0
    for second in range(10, 20):
        pace.add(100, float(second))
    assert pace.stock == round(100 * STOCK_S)


def test_a_station_orders_in_advance_what_it_ends_in_some_time() -> None:
    pace = Pace(12, 0.0)
    assert pace.stock == 12
    for tenth in range(1, 101):
        pace.add(10, tenth / 10)
    assert pace.stock == round(100 * STOCK_S)
    for second in range(11, 31):
        pace.add(0, float(second))
    assert pace.stock == 12


DIED = "The actor died unexpectedly before finishing this task.\n\tclass_name: StationActor"
NOT_INSTALLED = (
    "The actor died because of an error raised in its creation task, \x1b[36mray::X\x1b[39m\n  ^^^^\n"
    "ModuleNotFoundError: No module named 'dropscribe'"
)


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (DIED, "its process or its machine has died"),
        ("long words " * 100, "words …"),
        (NOT_INSTALLED, "No module named 'dropscribe' there; install the same version"),
        ("", "it died"),
    ],
)
def test_an_error_of_ray_is_read_in_one_line(said: str, read: str) -> None:
    assert read in plain(said)
    assert "\x1b" not in plain(said)


def test_a_node_on_which_no_station_can_begin_is_not_tried_again_at_once(head: Head) -> None:
    head.executor.turn(0.0)
    head.link("a").answer("examine", None, RuntimeError("No module named 'dropscribe' there"))
    head.ready("b")
    head.wait(RENEW_S + 1, "b")
    assert head.states() == {"a": State.REFUSED, "b": State.READY}
    assert len(head.cluster.links["a"]) == 1


@pytest.mark.parametrize(
    "address", ["auto", "head.example.org:6379", "192.0.2.1:6379", "[2001:db8::1]:6379", "node_1:6379"]
)
def test_an_address_of_a_cluster_is_taken(address: str) -> None:
    assert Settings.model_validate({"cluster": {"address": address}}).cluster.address == address


@pytest.mark.parametrize(
    "address", ["", "head", "head:", "head:x", ":6379", "ray://head:10001", "a b:1", "2001:db8::1:6379"]
)
def test_an_address_that_is_none_is_refused_with_what_to_write(address: str) -> None:
    with pytest.raises(ValidationError, match=r"HOST:PORT, such as"):
        Settings.model_validate({"cluster": {"address": address}})


def test_a_port_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="1 to 65535"):
        Settings.model_validate({"cluster": {"address": "head:65536"}})


def test_whom_ray_does_not_let_in_is_told_to_compare_tokens() -> None:
    refused = not_joined(ConnectionError("Failed to connect to Ray cluster at 192.0.2.1:6379"), "head:6379")
    assert "token is probably another one" in refused.remedy
    absent = not_joined(ConnectionRefusedError(111, "Connection refused"), "head:6379")
    assert "start Ray on this machine" in absent.remedy
