"""Kill the daemon at random moments during a backlog of long recordings: the second mode of `kill.py`."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import surroundings

sys.path.insert(0, str(surroundings.ROOT))

from tests.support.daemon_process import SAMPLE, DaemonProcess, wait_until

#: Longest time from the start of the first recording to the kill, seconds; a few recordings are completed in that time.
LONGEST_RUN_S = 4.0
#: A decoder is killed, too, in one of this many runs.
DECODER_KILLS = 4
#: Time limit for the rest of the backlog after the last kill, seconds.
REST_S = 3_600.0
DECODERS = "[media]\ndecoders = 2\n"


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Kill and check; returns the counts. Ends the benchmark with an error on a violation."""
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="dropscribe-kill-") as root:
        daemon = DaemonProcess(Path(root), model="null", extra=DECODERS)
        names = write(daemon.inbox, options.backlog, options.seconds)
        began = time.monotonic()
        of_decoders = amid_work = 0
        for kill in range(1, options.kills + 1):
            daemon.start().wait_ready()
            wait_until(lambda: begun(daemon) > 0 or all_done(daemon, len(names)), "something has begun")
            lives_s = chance.uniform(0.0, LONGEST_RUN_S)
            if chance.randrange(DECODER_KILLS) == 0:
                time.sleep(lives_s / 2)
                of_decoders += kill_decoder(daemon, chance)
                lives_s /= 2
            time.sleep(lives_s)
            daemon.kill()
            amid_work += begun(daemon) > 0
            counts = check(daemon)
            print(f"kill {kill}: {counts}", file=sys.stderr, flush=True)
        killing_s = time.monotonic() - began
        with daemon:
            wait_until(lambda: all_done(daemon, len(names)) or bool(failed(daemon)), "all are done", REST_S)
        check(daemon)
        check_end(daemon, names)
        rows = daemon.rows("select outcome, sum(times) as n from attempts group by outcome")
        deaths = daemon.rows("select max(lone_deaths) as n from jobs")[0]["n"]
        return {
            "recordings": len(names),
            "kills": options.kills,
            "kills_amid_work": amid_work,
            "kills_of_decoders": of_decoders,
            "minutes_of_kills": round(killing_s / 60, 1),
            "minutes": round((time.monotonic() - began) / 60, 1),
            # Anything but zero would have ended it with an error.
            "failed": 0,
            "lost": 0,
            "double": 0,
            "tries": {row["outcome"]: row["n"] for row in rows},
            "most_lone_deaths_of_one": deaths,
        }


def write(folder: Path, count: int, seconds: float) -> list[str]:
    """Write recordings that take long to decode and little space: silence with the sample at a distinct position."""
    said, rate = soundfile.read(SAMPLE, dtype="int16")
    names = []
    for i in range(count):
        sound = np.zeros(int(seconds * rate) + i, np.int16)
        at = (i * 7919) % max(1, len(sound) - len(said))
        sound[at : at + len(said)] = said[: len(sound) - at]
        names.append(f"{i:04d}")
        soundfile.write(folder / f"{i:04d}.flac", sound, rate)
    return names


def begun(daemon: DaemonProcess) -> int:
    """Number of recordings under way."""
    return len(daemon.rows("select 1 from jobs where state = 'running' and begun = 1"))


def all_done(daemon: DaemonProcess, count: int) -> bool:
    return bool(daemon.rows("select count(*) as n from jobs where state = 'done'")[0]["n"] == count)


def failed(daemon: DaemonProcess) -> list[tuple[Any, ...]]:
    found = daemon.rows("select id, attempts, reason from jobs where state in ('failed', 'cancelled')")
    return [tuple(row) for row in found]


def kill_decoder(daemon: DaemonProcess, chance: random.Random) -> int:
    """Kill a decoder, as the kernel does when memory is short; returns the number killed."""
    decoders = daemon.children("ds-decoder")
    if not decoders:
        return 0
    with contextlib.suppress(ProcessLookupError):
        os.kill(chance.choice(decoders), signal.SIGKILL)
        return 1
    return 0


def check(daemon: DaemonProcess) -> dict[str, int]:
    """Check the invariants after a kill; returns the number of jobs by state."""
    if bad := failed(daemon):
        raise SystemExit(f"failed: {bad}")
    if (sound := daemon.rows("pragma integrity_check")[0][0]) != "ok":
        raise SystemExit(f"the database is damaged: {sound}")
    return {
        row["state"]: row["n"] for row in daemon.rows("select state, count(*) n from jobs group by state")
    }


def check_end(daemon: DaemonProcess, names: list[str]) -> None:
    """Check that every recording is done once, its files are complete, and there are no other files."""
    counts = check(daemon)
    if counts != {"done": len(names)}:
        raise SystemExit(f"lost or double: {counts}")
    wanted = {
        name + form for name in names for form in (".flac", ".txt", ".srt", ".vtt", ".json", ".timing.json")
    }
    there = {path.name for path in daemon.inbox.iterdir()}
    if there != wanted:
        raise SystemExit(f"files: {sorted(there ^ wanted)[:10]}")
    for name in names:
        if not json.loads((daemon.inbox / f"{name}.json").read_bytes())["text"]:
            raise SystemExit(f"{name}: its transcript is empty")
