"""What tests of the engine's loop have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from daemon.engine.protocol import Abort, PcmBlock


class Script:
    """An inbox that was written beforehand."""

    def __init__(self, *messages: PcmBlock | Abort) -> None:
        self.messages = deque(messages)

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        messages = list(self.messages)
        self.messages.clear()
        return messages
