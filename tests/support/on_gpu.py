"""Run recordings through an engine on a GPU."""

from __future__ import annotations

import os

from dropscribe.config import EngineSettings
from dropscribe.engine.protocol import Event, PcmBlock, SegmentDone, StreamDone, StreamFailed
from tests.support.engines import sample, started


def through_the_engine(device: str) -> tuple[str, list[str]]:
    """Device reported by the engine, and texts of the sample's segments."""
    raw = sample().astype("<i2").tobytes()
    arena = os.memfd_create("sample", os.MFD_CLOEXEC)
    os.write(arena, raw)
    settings = EngineSettings(model="paraformer-mini", vad_model="vad-mini", device=device)
    engine = started(settings, arena_fd=arena, arena_bytes=len(raw))
    try:
        engine.submit(PcmBlock(1, 0, len(raw) // 2, final=True))
        events: list[Event] = []
        while not any(isinstance(e, (StreamDone, StreamFailed)) for e in events):
            events += engine.results(10.0)
        said = sorted((e for e in events if isinstance(e, SegmentDone)), key=lambda e: e.index)
        return engine.facts.device, [s.text for s in said]
    finally:
        engine.close()
        os.close(arena)
