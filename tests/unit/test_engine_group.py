"""Decisions of the engine group, with fake members: assignment of streams, and loss of a member."""

from __future__ import annotations

import select
from collections.abc import Iterator

import pytest

from dropscribe.engine.group import EngineGroup, Member, joint_facts
from dropscribe.engine.protocol import (
    SAMPLE_RATE_HZ,
    Abort,
    BlockFreed,
    PcmBlock,
    SegmentDone,
    StreamDone,
    StreamFailed,
)
from dropscribe.errors import DeviceFailedError, EngineDiedError, EngineError
from tests.support.fake_member import FakeMember, facts, segment

DEVICES = ("cuda:0", "cuda:1")


def block(stream: int, offset: int, seconds: float = 10.0, *, final: bool = False) -> PcmBlock:
    return PcmBlock(stream, offset, int(seconds * SAMPLE_RATE_HZ), final)


@pytest.fixture
def members() -> Iterator[list[FakeMember]]:
    made = [FakeMember(d) for d in DEVICES]
    yield made
    assert [m.waited_s for m in made] == [0.0, 0.0], "one member must not make the others wait"


@pytest.fixture
def group(members: list[FakeMember]) -> Iterator[EngineGroup]:
    typed: list[Member] = [*members]
    made = EngineGroup(typed, DEVICES)
    assert made.wait_ready(0.0)
    yield made
    made.close()


def readable(group: EngineGroup) -> bool:
    return bool(select.select([group.fileno()], [], [], 0)[0])


def test_a_new_stream_goes_to_the_member_with_most_capacity_and_stays(
    group: EngineGroup, members: list[FakeMember]
) -> None:
    for offset, stream in enumerate((1, 2, 1, 2, 1)):
        group.submit(block(stream, offset))
    assert [m.stream for m in members[0].got] == [1, 1, 1]
    assert [m.stream for m in members[1].got] == [2, 2]
    group.submit(block(3, 9))
    assert members[1].got[-1] == block(3, 9)


def test_capacity_for_a_stream_is_that_of_its_member(group: EngineGroup, members: list[FakeMember]) -> None:
    group.submit(block(1, 0, seconds=100.0))
    assert group.capacity(1) == 0.0
    assert group.capacity() == group.capacity(2) == 100.0
    group.submit(block(2, 1, seconds=30.0))
    assert group.capacity(2) == group.capacity() == 70.0
    members[0].now(StreamDone(1, 0, 0, 0, 0.0))
    group.results(0.0)
    members[1].room_s = 500.0
    assert group.capacity(1) == 500.0, "it has ended: its number is that of a new one"


def test_events_of_all_members_arrive_and_make_the_descriptor_readable(
    group: EngineGroup, members: list[FakeMember]
) -> None:
    assert not readable(group)
    assert group.results(0.0) == []
    members[0].now(BlockFreed(1))
    members[1].now(BlockFreed(2))
    assert readable(group)
    assert set(group.results(1.0)) == {BlockFreed(1), BlockFreed(2)}
    assert not readable(group)


def test_batches_of_two_members_have_different_numbers(group: EngineGroup, members: list[FakeMember]) -> None:
    group.submit(block(1, 0))
    group.submit(block(2, 1))
    numbers = []
    for batch in (0, 1, 2):
        members[0].now(segment(1, batch))
        members[1].now(segment(2, batch))
        numbers += [e.batch for e in group.results(0.0) if isinstance(e, SegmentDone)]
    assert len(set(numbers)) == 6
    assert numbers[::2] == sorted(numbers[::2])
    assert numbers[1::2] == sorted(numbers[1::2])


def test_facts_list_the_devices(group: EngineGroup) -> None:
    assert group.facts == facts(device="cuda:0 (Card), cuda:1 (Card)")


def test_facts_name_a_device_of_two_processes_once() -> None:
    known = [facts(device="cuda:0 (Card)", warmup_s=s) for s in (3.0, 9.0)]
    assert joint_facts(known) == facts(device="cuda:0 (Card)", warmup_s=9.0)


class TestDeath:
    def test_only_its_own_streams_fail_and_every_block_comes_back(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        for offset, stream in enumerate((1, 2, 3)):
            group.submit(block(stream, offset))
        assert [m.stream for m in members[0].got] == [1, 3]
        members[0].now(BlockFreed(0))
        group.results(0.0)
        members[0].die()
        assert readable(group)
        said = group.results(0.0)
        failed = {e.stream: e for e in said if isinstance(e, StreamFailed)}
        assert failed.keys() == {1, 3}
        assert all(e.code == "engine_died" and e.retryable and "cuda:0" in e.reason for e in failed.values())
        assert [e for e in said if isinstance(e, BlockFreed)] == [BlockFreed(2)]
        assert not readable(group)
        group.submit(block(2, 7, final=True))
        assert members[1].got[-1] == block(2, 7, final=True)
        assert members[0].ended == ["closed"]

    def test_a_failure_of_the_device_is_reported_as_such(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        for offset, stream in enumerate((1, 2)):
            group.submit(block(stream, offset))
        members[0].die(DeviceFailedError("CUDA error"))
        members[1].idle = 200.0
        group.retire_stuck(0.0, hung_s=180.0, start_s=1800.0)
        codes = {e.stream: e.code for e in group.results(0.0) if isinstance(e, StreamFailed)}
        assert codes == {1: "device_failed", 2: "device_failed"}
        with pytest.raises(DeviceFailedError):
            group.submit(block(3, 9))

    def test_later_blocks_of_a_failed_stream_are_freed(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        group.submit(block(1, 0))
        members[0].die()
        group.results(0.0)
        group.submit(block(1, 5))
        group.submit(block(1, 6, final=True))
        assert readable(group)
        assert group.results(0.0) == [BlockFreed(5), BlockFreed(6)]
        assert members[1].got == []

    def test_a_failed_stream_is_not_restarted_on_another_member(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        group.submit(block(1, 0))
        members[0].now(StreamFailed(1, "engine", "no", retryable=False))
        group.results(0.0)
        group.submit(block(1, 5, final=True))
        assert group.results(0.0) == [BlockFreed(5)]
        assert members[1].got == []

    def test_a_death_found_by_submit_is_reported_by_results(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        members[0].dead = EngineDiedError("gone")
        group.submit(block(1, 0, final=True))
        said = group.results(0.0)
        assert [type(e) for e in said] == [StreamFailed, BlockFreed]

    def test_an_aborted_stream_has_no_events(self, group: EngineGroup, members: list[FakeMember]) -> None:
        group.submit(block(1, 0))
        group.submit(block(2, 1))
        members[0].dead = EngineDiedError("gone")
        group.submit(block(1, 2))
        group.submit(Abort(1))
        assert set(group.results(0.0)) == {BlockFreed(0), BlockFreed(2)}

    def test_the_death_of_all_members_is_that_of_the_group(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        group.submit(block(1, 0))
        for member in members:
            member.die()
        assert {type(e) for e in group.results(0.0)} == {StreamFailed, BlockFreed}
        assert readable(group)
        for _ in range(2):
            with pytest.raises(EngineDiedError, match="SIGKILL"):
                group.results(0.0)
        with pytest.raises(EngineDiedError):
            group.submit(block(2, 1))

    def test_a_lost_member_is_replaced_while_others_continue(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        members[0].die()
        group.results(0.0)
        (loss,) = group.take_losses()
        assert (loss.index, loss.device, loss.was_ready) == (0, "cuda:0", True)
        assert group.take_losses() == []
        new = FakeMember("cuda:0", ready=False, room_s=500.0)
        group.fill(0, new)
        group.submit(block(1, 0))
        assert new.got == [], "it is not warm yet"
        new.ready = True
        new.now()
        group.results(0.0)
        group.submit(block(2, 1))
        assert new.got == [block(2, 1)]

    def test_a_replacement_with_another_model_is_rejected(
        self, group: EngineGroup, members: list[FakeMember]
    ) -> None:
        members[0].die()
        group.results(0.0)
        group.take_losses()
        new = FakeMember("cuda:0")
        new.be(facts(models=(("asr", "another"), ("vad", "v"))))
        group.fill(0, new)
        new.now()
        group.results(0.0)
        (loss,) = group.take_losses()
        assert not loss.was_ready
        assert "another" in loss.reason
        assert new.ended == ["closed"]

    def test_a_hanging_member_is_killed(self, group: EngineGroup, members: list[FakeMember]) -> None:
        group.submit(block(1, 0))
        group.submit(block(2, 1))
        members[0].idle, members[1].idle = 200.0, 20.0
        assert group.idle_s(0.0) == 200.0
        group.retire_stuck(0.0, hung_s=100.0, start_s=1e9)
        assert [loss.device for loss in group.take_losses()] == ["cuda:0"]
        assert group.idle_s(0.0) == 20.0
        assert StreamFailed in {type(e) for e in group.results(0.0)}


def test_not_ready_until_all_members_are(members: list[FakeMember]) -> None:
    members[1].ready = False
    group = EngineGroup(members, DEVICES)
    assert not group.wait_ready(0.0)
    members[1].ready = True
    assert group.wait_ready(0.0)
    group.close()


def test_the_error_of_a_member_that_cannot_start_names_its_device(members: list[FakeMember]) -> None:
    members[1].die(EngineError("there are only 1 CUDA devices", operation="use device", remedy="name one"))
    group = EngineGroup(members, DEVICES)
    with pytest.raises(EngineError, match=r"cuda:1: there are only 1 .*\(name one\)") as caught:
        group.wait_ready(0.0)
    assert not isinstance(caught.value, EngineDiedError)
    group.close()


def test_close_signals_all_members_before_waiting(group: EngineGroup, members: list[FakeMember]) -> None:
    group.close()
    group.close()
    assert [m.ended for m in members] == [["dismissed", "closed"]] * 2
    with pytest.raises(EngineDiedError):
        group.results(0.0)
