"""Tells a person, once, what the model cannot do with the hotwords that come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from daemon.engine.loop import Inbox
from daemon.engine.protocol import Abort, PcmBlock


class HotwordNotes:
    """An inbox that looks at what passes through it. Owned by the worker's thread."""

    def __init__(
        self, inbox: Inbox, complaint: Callable[[Sequence[str]], str], note: Callable[[str], None]
    ) -> None:
        """`complaint` as `daemon.engine.stages.Listener`; `note` is told each complaint once."""
        self._inbox = inbox
        self._complaint = complaint
        self._note = note
        self._seen: set[tuple[str, ...]] = {()}
        self._said: set[str] = {""}

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        """See `daemon.engine.loop.Inbox`."""
        messages = self._inbox.take(timeout_s)
        for message in messages:
            if isinstance(message, PcmBlock) and message.hotwords not in self._seen:
                self._look(message.hotwords)
        return messages

    def _look(self, hotwords: tuple[str, ...]) -> None:
        self._seen.add(hotwords)
        text = self._complaint(hotwords)
        if text not in self._said:
            self._said.add(text)
            self._note(text)
