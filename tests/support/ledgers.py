"""Helpers for tests of the ledger: admissions, results, combined steps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from psycopg.rows import dict_row

from dropscribe.ledger import backend
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Admission, Claim, Finish, OutputIntent
from dropscribe.ledger.sql.postgresql.connections import open_connection
from dropscribe.ledger.sql.sqlite.db import driver
from dropscribe.transcript.types import (
    GAP,
    STAGES,
    UNREAD,
    AudioTrack,
    EngineFacts,
    Loss,
    MediaFacts,
    Segment,
    Timings,
    Tokens,
)

FOLDER = Path("/srv/drop")
LEASE_S = 60.0

MEDIA = MediaFacts(
    5_000,
    "wav",
    "pcm_s16le",
    44_100,
    2,
    "soundfile",
    ("a tag is odd",),
    losses=(Loss(GAP, 1_000, 500, "0.5 s"), Loss(UNREAD, 5_000, None, "the rest")),
    tracks=(AudioTrack(1, None, "会议", "pcm_s16le", 2, default=False, chosen=True),),
)
ENGINE = EngineFacts(
    (("asr", "mini"), ("vad", "vad")),
    "cpu",
    "fp32",
    (("funasr", "1.4"), ("torch", "2.13")),
    "demonstration",
    0.5,
)
TIMINGS = Timings(tuple((stage, 0.25) for stage in STAGES), (3, 8), 0.125, 4_000, 2.0)


def open_ledger(location: DatabaseLocation) -> Ledger:
    """A ledger whose instants are those that the test passes, on every database."""
    return backend.open_ledger(location, by_server_clock=False)


def admission(name: str = "a.wav", content: str = "one", **changes: Any) -> Admission:
    """Admission of a recording in `FOLDER`; equal `content` means equal bytes."""
    values: dict[str, Any] = {
        "path": FOLDER / name,
        "folder": FOLDER,
        "size": 1_000,
        "mtime_ns": 10,
        "inode": 7,
        "sha256": f"sha-{content}",
        "profile": "default",
        "recipe": "mini|vad",
        "share_result": True,
        "settle_s": 2.0,
        "max_attempts": 3,
    }
    return Admission(**values | changes)


def segments(*texts: str) -> tuple[Segment, ...]:
    """One segment of 1 s for each text."""
    return tuple(
        Segment(i, i * 1_000, i * 1_000 + 900, text, Tokens((text[:1],), (i * 1_000,), (i * 1_000 + 50,)))
        for i, text in enumerate(texts)
    )


def finish_of(claim: Claim, *texts: str, reference: int | None = None) -> Finish:
    """The result of a claimed job."""
    return Finish(claim.job_id, claim.generation, MEDIA, ENGINE, TIMINGS, segments(*texts), reference)


def claim_all(ledger: Ledger, now: float = 100.0, *, limit: int = 100, isolated: bool = False) -> list[Claim]:
    """Claims of one worker at `now`."""
    return ledger.claim("worker", limit, now, LEASE_S, allow_isolated=isolated)


def begin(ledger: Ledger, *claims: Claim) -> set[int]:
    """Begin these claims; returns the refused jobs."""
    return ledger.begin([(c.job_id, c.generation) for c in claims])


def intend(ledger: Ledger, claim: Claim, files: Sequence[OutputIntent], now: float) -> None:
    """Record intended files for a current claim."""
    assert ledger.intend([(claim.job_id, claim.generation, files)], now) == []


def transcribed(ledger: Ledger, *texts: str, name: str = "a.wav", now: float = 100.0) -> int:
    """Admit, claim and finish a recording with these segments; returns its job."""
    ledger.admit([admission(name, name)], now)
    (claim,) = claim_all(ledger, now + 1)
    assert ledger.finish([finish_of(claim, *texts)], now + 3) == []
    return claim.job_id


def query(location: DatabaseLocation, statement: str) -> list[dict[str, Any]]:
    """Rows of a statement, by another connection than the ledger's; committed."""
    if location.server:
        with open_connection(location.server) as server, server.cursor(row_factory=dict_row) as cursor:
            cursor.execute(statement)
            return list(cursor) if cursor.description else []
    with closing(driver().connect(os.fspath(location.file))) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        cursor = connection.execute(statement)
        rows = [dict(zip([c[0] for c in cursor.description or ()], row, strict=True)) for row in cursor]
        connection.commit()
        return rows
