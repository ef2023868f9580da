"""How many decoders, and how much audio is held where. Pure."""

from __future__ import annotations

import os

from daemon.config import Settings
from daemon.service.arena import SLOT_S

#: Longest speech segment (60 s) and what VAD looks ahead, seconds.
OPEN_SEGMENT_S = 70.0
#: Cores that daemon, engine and hashing keep busy at full load: a compressed recording costs a core more to decode than
#: a GPU to recognise.
OTHERS = 4
#: Slots of the arena for each decoder: what it decodes while the engine is busy with a batch of a GPU's size. 10 MB.
SLOTS_A_DECODER = 32


def decoder_count(settings: Settings) -> int:
    """Decoder processes: as configured, else half the cores, on large machines all but `OTHERS`, and at least 2."""
    cores = os.cpu_count() or 2
    return settings.media.decoders or max(2, cores // 2, cores - OTHERS)


def audio_bounds(settings: Settings) -> tuple[float, float]:
    """(arena, engine capacity) in audio seconds.

    A segment that is still open occupies the engine without moving on, at most one per decoder; the capacity
    must exceed all of them together or everybody would wait for everybody.
    """
    decoders = decoder_count(settings)
    arena_s = max(settings.service.queue_audio_s, SLOTS_A_DECODER * decoders * SLOT_S)
    return arena_s, max(settings.service.queue_audio_s, 2 * decoders * OPEN_SEGMENT_S)
