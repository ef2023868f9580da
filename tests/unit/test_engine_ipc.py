"""Communication of the engine process with its parent: neither blocks the other."""

from __future__ import annotations

import multiprocessing
import threading
from multiprocessing.connection import Connection
from typing import Any

import pytest

from dropscribe.engine.ipc import PipeOutbox, add
from dropscribe.engine.protocol import BlockFreed
from dropscribe.engine.wire import FromChild, Note, Report

#: More than the capacity of any pipe.
LONG = Note("word " * 1_000_000)


def test_messages_to_a_parent_that_does_not_read_do_not_block_the_loop() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with ours, theirs:
        outbox = PipeOutbox(theirs)
        outbox.start()
        for number in range(3):
            outbox.say(LONG)
            outbox.say(Note(str(number)))
        arrived = [ours.recv() for _ in range(6)]
        assert arrived == [LONG, Note("0"), LONG, Note("1"), LONG, Note("2")]
        outbox.finish(60.0)
        assert not outbox.is_alive()


def test_the_last_messages_are_sent_before_the_end() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with ours, theirs:
        outbox = PipeOutbox(theirs)
        outbox.start()
        outbox.say(Note("the device failed"))
        outbox.finish(60.0)
        assert ours.poll()
        assert ours.recv() == Note("the device failed")


def test_reports_that_wait_are_sent_as_one() -> None:
    messages: list[FromChild] = [Report((BlockFreed(1),), 10)]
    for following in (
        Report((BlockFreed(2), BlockFreed(3)), 20),
        Note("word"),
        Report((), 30),
        Report((BlockFreed(4),), 5),
    ):
        add(messages, following)
    assert messages == [
        Report((BlockFreed(1), BlockFreed(2), BlockFreed(3)), 20), Note("word"), Report((BlockFreed(4),), 5)
    ]  # fmt: skip


def say_and_stay(reports: Connection, message: Any) -> None:
    """Main function of a process that sends a message and does not end by itself."""
    outbox = PipeOutbox(reports)
    outbox.start()
    outbox.say(message)
    threading.Event().wait()


class Unspeakable:
    """Object that can be sent to the other process but not back."""

    def __reduce__(self) -> tuple[Any, ...]:
        if multiprocessing.parent_process() is not None:
            raise TypeError("cannot be said")
        return Unspeakable, ()


@pytest.mark.parametrize(("message", "status"), [(Note("is anybody there?"), 0), (Unspeakable(), 1)])
def test_a_process_that_cannot_send_messages_ends(message: Any, status: int) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=say_and_stay, args=(theirs, message), daemon=True)
    process.start()
    theirs.close()
    if status == 0:
        ours.close()
    process.join(60.0)
    assert process.exitcode == status
    process.close()
    ours.close()
