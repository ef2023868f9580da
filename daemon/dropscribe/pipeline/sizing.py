"""Number of decoders, hashers, lanes and publishing processes for this machine, and bounds on buffered audio."""

from __future__ import annotations

import os

from dropscribe.config import Settings
from dropscribe.pipeline.local.arena import SLOT_S

#: Longest speech segment (60 s) plus the look-ahead of VAD, seconds.
OPEN_SEGMENT_S = 70.0
#: Cores used by daemon, engine and hashing at full load. The others decode: decoding a compressed recording takes a
#: core longer than recognition takes a GPU.
OTHERS = 4
#: Most decoders of a station: an engine cannot keep up with more, and each takes some 30 MB.
MOST_DECODERS = 32
#: Most hashing threads: a disk cannot keep up with more.
MOST_HASHERS = 16
#: Most publishing threads: more would mostly wait for the GIL.
MOST_LANES = 4
#: Most publishing processes. The recordings of one fast GPU keep three busy.
MOST_PUBLISHERS = 16
#: Fewest cores with publishing processes: with fewer, decoding needs them all, and a process takes some 40 MB.
CORES_TO_PUBLISH = 8
#: Arena slots per decoder (20 MB): those that it fills, and as many that the engine reads.
SLOTS_A_DECODER = 64
#: Further audio in the arena for each GPU, seconds (384 MB): what it recognises in a third of a second. Some is being copied to it
#: while more arrives; with the decoders' share alone, decoders and engine would wait for each other's slots.
GPU_AUDIO_S = 12_000.0


def cores() -> int:
    """Number of CPUs this process may run on."""
    return len(os.sched_getaffinity(0))


def decoder_count(settings: Settings, stations: int = 1) -> int:
    """Decoder processes of all `stations` of this machine: as configured, else half the cores or all but `OTHERS`, at least 2, at
    most `MOST_DECODERS` for each station.
    """
    mine = cores()
    return settings.media.decoders or min(stations * MOST_DECODERS, max(2, mine // 2, mine - OTHERS))


def hasher_count() -> int:
    """Hashing threads. Hashing releases the GIL; a core hashes 5,000 hours of WAV an hour, less than a GPU needs."""
    return min(MOST_HASHERS, max(2, cores() // 2))


def lane_count() -> int:
    """Publishing threads. They mostly wait for the disk, but the rest of their work needs the GIL."""
    return min(MOST_LANES, max(2, cores() // 4))


def publisher_count() -> int:
    """Publishing processes, which render and write; 0: the lanes do. Rendering needs the GIL, so more lanes would not help."""
    return min(MOST_PUBLISHERS, cores() * 3 // 8) if cores() >= CORES_TO_PUBLISH else 0


def audio_bounds(settings: Settings, gpus: int = 0) -> tuple[float, float]:
    """(arena, engine capacity) in audio seconds, for an engine with so many GPUs.

    An open segment occupies engine capacity until it ends, at most one per decoder. The capacity must exceed the sum of
    all open segments, otherwise decoders and engine would deadlock.
    """
    decoders = decoder_count(settings)
    arena_s = max(settings.service.queue_audio_s, SLOTS_A_DECODER * decoders * SLOT_S) + gpus * GPU_AUDIO_S
    return arena_s, max(settings.service.queue_audio_s, 2 * decoders * OPEN_SEGMENT_S)
