"""What tests of the engine's loop have in common."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from daemon.engine.protocol import Abort, PcmBlock
from daemon.engine.stages import SAMPLES_PER_MS, Pcm, SpeechSegment


class Script:
    """An inbox that was written beforehand."""

    def __init__(self, *messages: PcmBlock | Abort) -> None:
        self.messages = deque(messages)

    def take(self, timeout_s: float | None) -> Sequence[PcmBlock | Abort]:
        messages = list(self.messages)
        self.messages.clear()
        return messages


def segment(
    pcm: Pcm, stream: int = 0, index: int = 0, start_ms: int = 0, hotwords: tuple[str, ...] = ()
) -> SpeechSegment:
    """Speech with its samples, found at the instant 0."""
    end_ms = start_ms + len(pcm) // SAMPLES_PER_MS
    return SpeechSegment(stream, index, start_ms, end_ms, len(pcm), 0.0, hotwords, pcm)
