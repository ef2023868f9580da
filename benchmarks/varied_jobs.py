"""Fill a database of the schema before the totals with varied jobs, by SQL: much faster than by the ledger's own calls."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from alembic import command
from alembic.config import Config

from dropscribe.ledger.sql import migrations
from dropscribe.ledger.sql.sqlite.db import connect, driver
from dropscribe.transcript.types import STAGES

#: Revision of the schema before the totals.
BEFORE = "0007"
#: 1 January 2024, epoch seconds, and the seconds between two recordings: a thousand a day.
BEGAN, EVERY_S = 1_704_067_200.0, 86.4
FOLDERS = ("/srv/dropscribe/meetings", "/srv/dropscribe/phone", "/srv/dropscribe/court")
PROFILES = ("default", "phone", "court")
MODELS = ("paraformer-zh", "SenseVoiceSmall")
#: Reason codes of failed jobs with their shares; the last is rare.
CODES = (("no_audio", 0.6), ("unreadable_media", 0.3), ("engine_failed", 0.0999), ("too_long", 0.0001))
#: A name in few paths, a name of a speaker in few transcripts, a word in few transcripts, and how often they come.
RARE_PATH, RARE_SPEAKER, RARE_WORD, RARE_EVERY = "季度审计", "欧阳静", "青海湖", 50_000
#: Rows inserted at a time.
BATCH = 10_000
#: Most frequent characters of the texts.
_CHARACTERS = "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说产种面而方后多定行学法所民得经"

_MEDIA = (
    '{"duration_ms":%d,"container":"wav","codec":"pcm_s16le","sample_rate_hz":16000,"channels":1,'
    '"decoder":"soundfile","warnings":[],"truncated":null}'
)
_ENGINE = (
    '{"model":"%s","vad_model":"fsmn-vad","device":"cuda:0","precision":"fp16","versions":[["torch","2.13"]],'
    '"notice":null,"warmup_s":9.5}'
)
_TIMINGS = '{"batch_sizes":[64,61],"padding_waste":0.03,"wall_s":0.4}'
_INSERTS = {
    "recordings": (
        "INSERT INTO recordings (id, path_raw, path, folder_raw, folder, size, mtime_ns, inode, sha256, admitted_at, latest) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
    ),
    "jobs": (
        "INSERT INTO jobs (id, recording_id, profile, recipe, identity, state, attempts, max_attempts, generation, not_before, "
        "isolate, reason_code, reason, remedy, settle_s, admitted_at, claimed_at, finished_at, reference_job_id, audio_ms, "
        "speech_ms, characters, model, device, media, engine, timings, begun) "
        "VALUES (?, ?, ?, 'r', ?, ?, 1, 3, 1, 0, 0, ?, ?, ?, 2, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)"
    ),
    "stage_timings": "INSERT INTO stage_timings (job_id, stage, attempt, seconds) VALUES (?, ?, 1, ?)",
    "segments": "INSERT INTO segments (id, job_id, idx, start_ms, end_ms, text, tokens) VALUES (?, ?, 0, 0, 9000, ?, '[]')",
    "job_speakers": "INSERT INTO job_speakers (job_id, number, name, kind) VALUES (?, 1, ?, 'voice')",
    "attempts": (
        "INSERT INTO attempts (job_id, generation, number, worker, started_at, ended_at, outcome) "
        "VALUES (?, 1, 1, 'host:1', ?, ?, ?)"
    ),
}


def make(path: Path, jobs: int) -> float:
    """Create a database at `path` with that many jobs; returns the seconds it took."""
    began = time.monotonic()
    config = Config()
    config.set_main_option("script_location", str(migrations.migrations_folder()))
    engine = connect(path, foreign_keys=False)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, BEFORE)
    engine.dispose()
    rng = np.random.default_rng(1)
    with closing(driver().connect(str(path), isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for first in range(1, jobs + 1, BATCH):
            numbers = range(first, min(first + BATCH, jobs + 1))
            rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _INSERTS}
            for table, row in _rows(numbers, jobs, rng):
                rows[table].append(row)
            connection.execute("BEGIN")
            for table, statement in _INSERTS.items():
                connection.executemany(statement, rows[table])
            connection.execute("COMMIT")
            if first % 100_000 == 1:
                print(f"{first - 1} jobs, {time.monotonic() - began:.0f} s", file=sys.stderr)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return time.monotonic() - began


def _rows(numbers: range, jobs: int, rng: np.random.Generator) -> Iterator[tuple[str, tuple[Any, ...]]]:
    count = len(numbers)
    chance, failing, copied = rng.random(count), rng.random(count), rng.random(count)
    folders = rng.choice(3, count, p=(0.7, 0.2999, 0.0001))
    lengths = np.clip(rng.lognormal(6.0, 1.3, count), 3, 6 * 3600)
    seconds = rng.lognormal(-3.0, 1.2, (count, len(STAGES)))
    waits = rng.lognormal(1.0, 2.0, count)
    texts = rng.choice(list(_CHARACTERS), (count, 20))
    shares = np.cumsum([share for _, share in CODES])
    for i, n in enumerate(numbers):
        at = BEGAN + n * EVERY_S
        folder, profile = FOLDERS[folders[i]], PROFILES[folders[i]]
        name = RARE_PATH if n % RARE_EVERY == 7 else "录音"
        path = f"{folder}/{time.strftime('%Y/%m/%d', time.gmtime(at))}/{name}-{n:08d}.m4a"
        raw, folder_raw = path.encode(), folder.encode()
        yield (
            "recordings",
            (n, raw, path, folder_raw, folder, 480_000 + n % 1000, int(at * 1e9), n, f"{n:064x}", at),
        )
        # The last jobs wait.
        state = "done" if chance[i] < 0.96 else "failed" if chance[i] < 0.985 else "cancelled"
        state = "queued" if n > jobs - jobs // 1000 else state
        code = CODES[int(np.searchsorted(shares, failing[i]))][0] if state == "failed" else None
        code = "recording_gone" if state == "cancelled" else code
        audio_ms, claimed = int(lengths[i] * 1000), at + float(waits[i])
        ended = claimed + float(seconds[i].sum())
        done = state == "done"
        model = MODELS[n % 10 == 0]
        yield "jobs", (
            n, n, profile, f"{n:064x}|r", state, code, code and "its audio could not be read", code and "record it again", at,
            None if state == "queued" else claimed, None if state == "queued" else ended,
            n - 1 if done and n > 1 and copied[i] < 0.01 else None,
            *((audio_ms, audio_ms * 3 // 4, 20, model, "cuda:0", _MEDIA % audio_ms, _ENGINE % model, _TIMINGS) if done
              else (None,) * 8),
        )  # fmt: skip
        if state == "queued":
            continue
        yield "attempts", (n, claimed, ended, state)
        if not done:
            continue
        for stage, value in zip(STAGES, seconds[i], strict=True):
            yield "stage_timings", (n, stage, float(waits[i]) if stage == "waiting" else float(value))
        text = "".join(texts[i])
        yield "segments", (n, n, f"{text}{RARE_WORD}" if n % RARE_EVERY == 11 else text)
        if n % 4 == 0:
            yield "job_speakers", (n, RARE_SPEAKER if n % RARE_EVERY == 8 else f"说话人{n % 40}")
