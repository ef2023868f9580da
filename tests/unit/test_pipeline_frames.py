"""Messages between the daemon and a station process: whole, in order, and without waiting for the other end."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator

import pytest

from dropscribe.pipeline.local.frames import FrameReceiver, FrameSender, read_frame, write_frame


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for end in (reader, writer):
        with contextlib.suppress(OSError):  # the test has closed it
            os.close(end)


def all_sent(sender: FrameSender) -> bool:
    return not sender.pending


def test_messages_that_the_pipe_does_not_hold_are_sent_as_they_are_read(ends: tuple[int, int]) -> None:
    reader, writer = ends
    sender = FrameSender(writer)
    messages = [b"", b"a" * 300_000, b"b" * 3]
    for message in messages:
        sender.send(message)
    assert sender.pending, "the pipe holds less"
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.extend(read_frame(reader) for _ in messages))
    thread.start()
    while not all_sent(sender):
        sender.flush()
    thread.join()
    assert read == messages


def test_a_message_is_received_once_it_is_whole(ends: tuple[int, int]) -> None:
    reader, writer = ends
    receiver = FrameReceiver(reader)
    write_frame(writer, b"first")
    write_frame(writer, b"second")
    whole = os.read(reader, 100)
    for at, byte in enumerate(whole):
        os.write(writer, bytes([byte]))
        arrived = receiver.receive()
        assert arrived == ([b"first"] if at == 12 else [b"second"] if at == len(whole) - 1 else [])
    assert not receiver.ended


def test_what_was_sent_before_the_end_is_received(ends: tuple[int, int]) -> None:
    reader, writer = ends
    receiver = FrameReceiver(reader)
    write_frame(writer, b"last words")
    os.close(writer)
    assert receiver.receive() == [b"last words"]
    assert receiver.ended
    with pytest.raises(EOFError):
        read_frame(reader)
