"""Fill a ledger with years of history by the ledger's own calls: the daemon's rows, in larger transactions."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import Admission, Claim, Finish, OutputIntent, SkippedFile
from dropscribe.transcript.types import STAGES, EngineFacts, MediaFacts, Segment, Timings, Tokens

FOLDER = Path("/srv/dropscribe/inbox")
RECIPE = "paraformer-zh|fsmn-vad"
FORMATS = ("txt", "srt", "vtt", "json", "timing.json")
LEASE_S = 60.0
#: Jobs per transaction.
BATCH = 500
#: 1 January 2020, epoch seconds, and the seconds between two recordings: a million of them are about two years.
BEGAN, EVERY_S = 1_577_836_800.0, 60.0
#: Of each hundred recordings one is damaged, one was removed before its claim, and two are copies of others.
DAMAGED, REMOVED, COPIES = 7, 23, (41, 83)
#: A rare name for searches, and the number of segments per occurrence.
RARE, RARE_EVERY = "青海湖", 100_000
#: Mean characters per segment, and segments per recording.
CHARACTERS, SEGMENTS = 25, 3
#: Number of distinct characters, with frequencies as in Chinese text (Zipf).
ALPHABET = 3_500

ENGINE = EngineFacts(
    (("asr", "paraformer-zh"), ("vad", "fsmn-vad")), "cuda:0 (NVIDIA H100)", "fp16", (("funasr", "1.4"), ("torch", "2.13")), None, 9.5
)  # fmt: skip


class Texts:
    """Random text with the character frequencies of Chinese, deterministic for a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        weights = 1.0 / np.arange(1, ALPHABET + 1)
        self._sums = np.cumsum(weights / weights.sum())
        self._made = 0

    def segments(self, count: int) -> tuple[Segment, ...]:
        """Segments of one recording with tokens of 40 ms every 200 ms."""
        out = []
        for i in range(count):
            length = int(self._rng.integers(CHARACTERS // 2, CHARACTERS * 3 // 2))
            drawn = np.searchsorted(self._sums, self._rng.random(length))
            text = "".join(map(chr, (0x4E00 + drawn).tolist()))
            self._made += 1
            if self._made % RARE_EVERY == 1:
                text = text[:5] + RARE + text[5:]
            start = i * 10_000
            begins = range(start, start + len(text) * 240, 240)
            tokens = Tokens(text, begins, [begin + 200 for begin in begins])
            out.append(Segment(i, start, start + len(text) * 240, text, tokens))
        return tuple(out)


def admission_of(number: int) -> Admission:
    """Admission of recording `number`, in a tree with a thousand recordings per directory."""
    # A copy has the content of the recording ten before it.
    content = number - 10 if number % 100 in COPIES else number
    return Admission(
        path=FOLDER / f"{number // 1000:05d}" / f"recording-{number:08d}.m4a", folder=FOLDER, size=480_000 + number % 1_000,
        mtime_ns=int((BEGAN + number * EVERY_S) * 1e9), inode=number + 1_000_000,
        sha256=hashlib.sha256(str(content).encode()).hexdigest(), profile="default", recipe=RECIPE,
        share_result=True, settle_s=2.1, max_attempts=3,
    )  # fmt: skip


def intents_of(claim: Claim) -> list[OutputIntent]:
    """Output intents of a job."""
    return [
        OutputIntent(
            "timing" if suffix == "timing.json" else suffix,
            claim.path.with_suffix(f".{suffix}"),
            hashlib.sha256(f"{claim.job_id} {suffix}".encode()).hexdigest(),
        )
        for suffix in FORMATS
    ]


def finish_of(claim: Claim, texts: Texts, count: int = SEGMENTS) -> Finish:
    """Result of a job; one done by reference has no segments of its own."""
    segments = () if claim.reference else texts.segments(count)
    speech_ms = sum(s.end_ms - s.start_ms for s in segments)
    seconds = tuple((stage, 0.01 * (i + 1)) for i, stage in enumerate(STAGES))
    media = MediaFacts(count * 10_000, "mov,mp4,m4a", "aac", 44_100, 2, "av")
    return Finish(
        claim.job_id, claim.generation, media, ENGINE, Timings(seconds, (64, 64, 61), 0.03, speech_ms, 0.4),
        segments, claim.reference,
    )  # fmt: skip


def fill(ledger: Ledger, jobs: int, *, first: int = 0, segments: int = SEGMENTS) -> dict[str, Any]:
    """Insert finished recordings `first` … `first + jobs - 1` of so many segments; returns number and duration."""
    texts = Texts(first)
    began = time.monotonic()
    for numbers in _batches(first, first + jobs):
        now = BEGAN + numbers[-1] * EVERY_S
        ledger.admit([admission_of(n) for n in numbers], now)
        for n in numbers:
            if n % 100 == REMOVED:
                ledger.cancel_gone(admission_of(n).path, now + 1, "the recording was removed before its turn")
        # Copies of recordings in the same batch can be claimed only after those are done.
        while claims := ledger.claim("ledger:1", BATCH, now + 2, LEASE_S, allow_isolated=False):
            _end(ledger, claims, texts, now + 3, segments)
        ledger.skip(
            [SkippedFile(FOLDER / f"notes-{numbers[0]}.pdf", FOLDER, "extension", "it is no recording")], now
        )
        if numbers[0] % 50_000 == 0:
            print(f"{numbers[0]} jobs, {time.monotonic() - began:.0f} s", file=sys.stderr)
    return {"jobs": jobs, "wall_s": round(time.monotonic() - began, 1)}


def _batches(first: int, last: int) -> Iterator[range]:
    for start in range(first, last, BATCH):
        yield range(start, min(start + BATCH, last))


def _end(ledger: Ledger, claims: list[Claim], texts: Texts, now: float, segments: int) -> None:
    damaged = [c for c in claims if int(c.path.stem[-2:]) == DAMAGED]
    for c in damaged:
        ledger.fail(
            c.job_id, c.generation, now, code="unreadable_media", reason="no decoder understands it", remedy="record again"
        )  # fmt: skip
    sound = [c for c in claims if c not in damaged]
    ledger.intend([(c.job_id, c.generation, intents_of(c)) for c in sound], now)
    ledger.finish([finish_of(c, texts, segments) for c in sound], now)
