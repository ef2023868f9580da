"""Error messages that are read from the source, for the page on troubleshooting."""

from __future__ import annotations

from dropscribe.cli.manual.messages import AREAS, OTHERS, SYSTEM_REASON, Message, messages, messages_in

SOURCE = """
_OPERATION = "open the box"
_HELP = f"see {page}"

def go():
    raise UsageError("it is closed", operation=_OPERATION, remedy="use " + key)
    raise UsageError(f"there is no {name}", operation=verb, remedy=f"{_HELP}, or ask")
    raise StorageError.from_system(e, operation="read", path=path, remedy="check the disk" if local else "mount it")
    raise UnreadableMediaError("no decoder understands it")
    raise UsageError(reason, operation=_OPERATION, remedy=remedy)
    raise ValueError("not ours")
"""


def test_a_message_has_its_words_and_a_mark_for_each_value() -> None:
    assert list(messages_in(SOURCE)) == [
        Message("open the box", "it is closed", "use …"),
        Message("", "there is no …", "see …, or ask"),
        Message("read", SYSTEM_REASON, "check the disk / mount it"),
        Message("transcribe", "no decoder understands it", "listen to the recording, and copy or export it again"),
    ]  # fmt: skip


def test_every_message_of_the_program_stands_below_a_heading_with_its_remedy() -> None:
    found = messages()
    assert list(found) == [*AREAS, OTHERS]
    assert all(found.values())
    assert sum(len(those) for those in found.values()) > 180
    folder = Message(
        "run",
        "there is no folder to watch",
        "name one with --watch DIR, or add a [[folder]] to the configuration",
    )
    assert folder in found[OTHERS]
    assert (
        Message("transcribe", "the file is empty", "record or copy it again")
        in found["Recordings and transcripts"]
    )
