"""Measure the throughput of the decoder processes by format.

    .venv/bin/python benchmarks/decoding.py [--decoders N] [--seconds 300] [--recordings 64] [--out FILE.json]

One recording of --seconds is written in each format and decoded --recordings times by the daemon's decoder pool
(number of processes as in the daemon by default) into the arena; slots are freed at once, so there is no wait for an
engine. RTFx: audio seconds per wall second. `core_rtfx`: the same per decoder, from the decoding times reported by
the decoders.
"""

from __future__ import annotations

import multiprocessing.connection
import tempfile
import time
import wave
from collections import deque
from pathlib import Path
from typing import Any

import av
import numpy as np
import surroundings

from dropscribe.config import MediaSettings, Settings
from dropscribe.engine.models.store import SAMPLE
from dropscribe.media.pool import DecoderPool
from dropscribe.media.protocol import DecodeDone, DecodeFailed, DecodeOrder, PcmReady, SlotWanted
from dropscribe.pipeline.local.arena import SLOT_BYTES, Arena
from dropscribe.pipeline.sizing import decoder_count

RATE = 16_000
SLOTS = 2
#: Name → (container, codec, rate in Hz, layout, bits a second), as recorders and phones write them.
FORMATS: dict[str, tuple[str, str, int, str, int | None]] = {
    "wav 16 kHz mono": ("wav", "pcm_s16le", 16_000, "mono", None),
    "wav 48 kHz stereo": ("wav", "pcm_s16le", 48_000, "stereo", None),
    "flac 48 kHz stereo": ("flac", "flac", 48_000, "stereo", None),
    "mp3 44.1 kHz stereo 128k": ("mp3", "libmp3lame", 44_100, "stereo", 128_000),
    "m4a (AAC) 48 kHz stereo 128k": ("mp4", "aac", 48_000, "stereo", 128_000),
    "opus 48 kHz mono 32k": ("ogg", "libopus", 48_000, "mono", 32_000),
}


def write(path: Path, form: tuple[str, str, int, str, int | None], seconds: float) -> None:
    """Write the bundled sample, repeated, in one format."""
    container, codec, rate, layout, bits = form
    with wave.open(str(SAMPLE), "rb") as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    with av.open(str(path), "w", format=container) as out:
        stream: Any = out.add_stream(codec, rate=rate, layout=layout)
        if bits:
            stream.bit_rate = bits
        to = av.AudioResampler(format=stream.format.name, layout=layout, rate=rate)
        left = round(seconds * RATE)
        while left > 0:
            block = said[:left]
            left -= len(block)
            frame = av.AudioFrame.from_ndarray(block[None], format="s16", layout="mono")
            frame.sample_rate = RATE
            for made in to.resample(frame):
                out.mux(stream.encode(made))
        for made in to.resample(None):
            out.mux(stream.encode(made))
        out.mux(stream.encode(None))


def decode(pool: DecoderPool, arena: Arena, path: Path, recordings: int) -> tuple[float, float, int]:
    """Decode; returns wall seconds, decoding seconds reported by the decoders, and samples delivered."""
    left, running, own_s, samples = recordings, 0, 0.0, 0
    starved: deque[int] = deque()
    began = time.monotonic()
    while left or running:
        while left and pool.idle() and arena.free >= SLOTS:
            pool.start(DecodeOrder(left, path, None), arena.take(SLOTS), time.monotonic())
            left, running = left - 1, running + 1
        multiprocessing.connection.wait(pool.filenos(), 1.0)
        for event in pool.poll(time.monotonic()):
            match event:
                case PcmReady():
                    arena.put(event.offset)
                    samples += event.samples
                case SlotWanted():
                    starved.append(event.ticket)
                case DecodeDone():
                    running, own_s = running - 1, own_s + event.decode_s
                    for offset in event.unused:
                        arena.put(offset)
                case DecodeFailed():
                    raise SystemExit(f"{path}: {event.reason}")
        while starved and arena.free:
            pool.give(starved.popleft(), arena.take(SLOTS))
    return time.monotonic() - began, own_s, samples


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--decoders", type=int, default=decoder_count(Settings()))
    parser.add_argument("--seconds", type=float, default=300.0, help="length of each recording")
    parser.add_argument("--recordings", type=int, default=64)
    options = parser.parse_args()
    arena = Arena(options.decoders * 40.0)
    pool = DecoderPool(
        arena.fd, SLOT_BYTES, workers=options.decoders, settings=MediaSettings(), clock=time.monotonic
    )
    by_format: dict[str, Any] = {}
    try:
        with tempfile.TemporaryDirectory(prefix="dropscribe-decoding-") as folder:
            for name, form in FORMATS.items():
                path = Path(folder) / f"{len(by_format)}.{form[0]}"
                write(path, form, options.seconds)
                decode(pool, arena, path, options.decoders)
                wall_s, own_s, samples = decode(pool, arena, path, options.recordings)
                by_format[name] = {
                    "audio_s": round(samples / RATE, 1),
                    "wall_s": round(wall_s, 3),
                    "rtfx": round(samples / RATE / wall_s),
                    "core_rtfx": round(samples / RATE / own_s),
                    "bytes": path.stat().st_size,
                }
    finally:
        pool.close()
        arena.close()
    surroundings.report("decoding", options, {"by_format": by_format})


if __name__ == "__main__":
    main()
