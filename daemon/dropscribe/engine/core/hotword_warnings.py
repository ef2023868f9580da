"""Warn once about hotwords that a model does not support."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class HotwordWarnings:
    """Checks the hotwords of streams of one recogniser. Owned by the worker's thread."""

    def __init__(self, complaint: Callable[[Sequence[str]], str], note: Callable[[str], None]) -> None:
        """`complaint`: as of `dropscribe.engine.core.interfaces.Listener`; `note` gets each distinct complaint once."""
        self._complaint = complaint
        self._note = note
        self._seen: set[tuple[str, ...]] = {()}
        self._reported: set[str] = {""}

    def check(self, hotwords: tuple[str, ...]) -> None:
        """Report hotwords that are not supported, unless this list was checked before."""
        if hotwords in self._seen:
            return
        self._seen.add(hotwords)
        text = self._complaint(hotwords)
        if text not in self._reported:
            self._reported.add(text)
            self._note(text)
