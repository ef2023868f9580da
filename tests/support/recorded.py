"""A recording that exists, on record with its transcript."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.ledger.records import Admission, Finish
from dropscribe.transcript.types import MediaFacts, Segment, Speaker, Tokens
from tests.support.histories import ENGINE, NOW, TIMINGS


def admitted(database: Path, recording: Path) -> tuple[int, int]:
    """Put a recording on record and claim it; returns job and generation."""
    status = recording.stat()
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        admission = Admission(
            path=recording, folder=recording.parent, size=status.st_size, mtime_ns=status.st_mtime_ns, inode=status.st_ino,
            sha256="5" * 64, profile="default", recipe="mini|vad", share_result=True, settle_s=2.0, max_attempts=3,
        )  # fmt: skip
        ledger.admit([admission], NOW)
        (claim,) = ledger.claim("worker", 1, NOW + 1, 60.0, allow_isolated=False)
    return claim.job_id, claim.generation


def recorded(
    database: Path, recording: Path, media: MediaFacts, *texts: str, speaker: str | None = None
) -> int:
    """The same, done, with one second of speech for each text; returns its job. Of the words only the first is sure."""
    job, generation = admitted(database, recording)
    segments = tuple(
        Segment(
            i, i * 1000, i * 1000 + 900, text,
            Tokens(tuple(text), [i * 1000] * len(text), [i * 1000 + 900] * len(text), bytes([255, *[60] * (len(text) - 1)])),
            speakers=bytes([1]) * len(text) if speaker else b"",
        )
        for i, text in enumerate(texts)
    )  # fmt: skip
    speakers = (Speaker(1, speaker),) if speaker else ()
    with closing(open_ledger(DatabaseLocation(database))) as ledger:
        assert (
            ledger.finish(
                [Finish(job, generation, media, ENGINE, TIMINGS, segments, None, speakers)], NOW + 3
            )
            == []
        )
    return job
