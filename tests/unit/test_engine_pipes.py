"""The engine process and its parent: neither waits for the other."""

from __future__ import annotations

import multiprocessing

from daemon.engine.pipes import PipeOutbox
from daemon.engine.wire import Note

#: More than any pipe holds.
LONG = Note("word " * 1_000_000)


def test_what_is_said_to_a_parent_that_does_not_read_waits_without_holding_anybody_up() -> None:
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


def test_what_was_said_last_is_sent_before_the_end() -> None:
    ours, theirs = multiprocessing.Pipe(duplex=False)
    with ours, theirs:
        outbox = PipeOutbox(theirs)
        outbox.start()
        outbox.say(Note("the device failed"))
        outbox.finish(60.0)
        assert ours.poll()
        assert ours.recv() == Note("the device failed")
