"""A history for tests of commands that print it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Admission, Claim, Finish, OutputIntent
from dropscribe.transcript.types import STAGES, EngineFacts, MediaFacts, Segment, Timings

#: 1 November 2026, 12:00 UTC, epoch seconds.
NOW = 1_793_534_400.0
MEDIA = MediaFacts(5000, "wav", "pcm_s16le", 16_000, 1, "soundfile")
ENGINE = EngineFacts(
    (("asr", "mini"), ("vad", "vad")), "cpu", "fp32", (("torch", "2.13.0"),), "for demonstration only", 0.5
)
TIMINGS = Timings(tuple((stage, 0.25) for stage in STAGES), (3,), 0.1, 4000, 1.0)


class History:
    """A ledger at `path`, open for writing, and methods that fill it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = open_ledger(DatabaseLocation(path))
        self._now = NOW

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.ledger.close()

    def waiting(self, name: str, now: float | None = None, *, content: str | None = None) -> int:
        """Admit a recording `/in/<name>` with this content, by default unique; returns its job."""
        at = self._now if now is None else now
        content = repr(name) if content is None else content
        admission = Admission(
            path=Path("/in") / name, folder=Path("/in"), size=10, mtime_ns=1, inode=1, sha256=content,
            profile="default", recipe="mini|vad", share_result=True, settle_s=2.0, max_attempts=3,
        )  # fmt: skip
        (admitted,) = self.ledger.admit([admission], at)
        return admitted.job_id

    def _claimed(self, name: str, at: float) -> Claim:
        self.waiting(name, at)
        (claim,) = self.ledger.claim("worker", 1, at + 1, 60.0, allow_isolated=False)
        return claim

    def done(
        self,
        name: str,
        *texts: str,
        now: float | None = None,
        media: MediaFacts = MEDIA,
        outputs: Sequence[OutputIntent] = (),
    ) -> int:
        """Add a finished job with these segments; returns it."""
        at = self._now if now is None else now
        claim = self._claimed(name, at)
        if outputs:
            assert self.ledger.intend([(claim.job_id, claim.generation, outputs)], at + 2) == []
        segments = tuple(Segment(i, i * 1000, i * 1000 + 900, text) for i, text in enumerate(texts))
        finish = Finish(claim.job_id, claim.generation, media, ENGINE, TIMINGS, segments)
        assert self.ledger.finish([finish], at + 3) == []
        return claim.job_id

    def copied(self, name: str, of: str, now: float | None = None) -> int:
        """Add a job that is done by the result of `/in/<of>`, which has the same content; returns it."""
        at = self._now if now is None else now
        self.waiting(name, at, content=repr(of))
        (claim,) = self.ledger.claim("worker", 1, at + 1, 60.0, allow_isolated=False)
        finish = Finish(claim.job_id, claim.generation, MEDIA, ENGINE, TIMINGS, (), claim.reference)
        assert claim.reference is not None
        assert self.ledger.finish([finish], at + 3) == []
        return claim.job_id

    def failed(self, name: str, reason: str, remedy: str, now: float | None = None) -> int:
        """Add a failed job; returns it."""
        at = self._now if now is None else now
        claim = self._claimed(name, at)
        self.ledger.fail(
            claim.job_id, claim.generation, at + 2, code="no_audio", reason=reason, remedy=remedy
        )
        return claim.job_id
