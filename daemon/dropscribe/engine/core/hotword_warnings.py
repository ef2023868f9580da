"""Warn once about hotwords that the model does not support."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dropscribe.engine.core.scheduler import Inbox
from dropscribe.engine.protocol import Abort, PcmBlock


class HotwordWarnings:
    """Wrapper of an inbox that checks the hotwords of arriving blocks. Owned by the worker's thread."""

    def __init__(
        self, inbox: Inbox, complaint: Callable[[Sequence[str]], str], note: Callable[[str], None]
    ) -> None:
        """`complaint`: as of `dropscribe.engine.core.interfaces.Listener`; `note` gets each distinct complaint once."""
        self._inbox = inbox
        self._complaint = complaint
        self._note = note
        self._seen: set[tuple[str, ...]] = {()}
        self._reported: set[str] = {""}

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        """See `dropscribe.engine.core.scheduler.Inbox`."""
        messages = self._inbox.take(timeout_s)
        for message in messages:
            if isinstance(message, PcmBlock) and message.options.hotwords not in self._seen:
                self._check(message.options.hotwords)
        return messages

    def _check(self, hotwords: tuple[str, ...]) -> None:
        self._seen.add(hotwords)
        text = self._complaint(hotwords)
        if text not in self._reported:
            self._reported.add(text)
            self._note(text)
