"""End-point options that several tests share."""

from __future__ import annotations

from dropscribe.engine.vad.endpoint import EndpointOptions

#: As in the official FSMN-VAD.
OFFICIAL = EndpointOptions(
    frame_ms=10,
    window=20,
    speech_at=15,
    silence_at=15,
    end_silence=65,
    lookback=20,
    lookahead=10,
    longest=6000,
    extend=True,
)
