"""Tells a person, once, what the model cannot do with the hotwords that come in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dropscribe.engine.core.scheduler import Inbox
from dropscribe.engine.protocol import Abort, PcmBlock


class HotwordWarnings:
    """An inbox that looks at what passes through it. Owned by the worker's thread."""

    def __init__(
        self, inbox: Inbox, complaint: Callable[[Sequence[str]], str], note: Callable[[str], None]
    ) -> None:
        """`complaint` as `dropscribe.engine.core.interfaces.Listener`; `note` is told each complaint once."""
        self._inbox = inbox
        self._complaint = complaint
        self._note = note
        self._seen: set[tuple[str, ...]] = {()}
        self._said: set[str] = {""}

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        """See `dropscribe.engine.core.scheduler.Inbox`."""
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
