"""`dropscribe status --watch`: the status on the whole terminal, renewed until Ctrl-C."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from dropscribe.ledger.control import FolderBacklog
    from dropscribe.ledger.interface import DatabaseLocation
    from dropscribe.views.watching import Gpu, Line, Screen

#: Interval of reading the status, as the daemon writes it, and of measuring the queue, seconds.
RENEWED_S, MEASURED_S = 2.0, 10.0
_QUERY = "index,utilization.gpu,memory.used,memory.total"
_STYLES = {"label": "bold", "good": "green", "bad": "bold red", "bar": "cyan"}


def watch(location: DatabaseLocation) -> None:
    """Show the status until Ctrl-C. Raises UsageError if standard output is no terminal."""
    from rich.console import Console, Group
    from rich.live import Live

    from dropscribe.errors import UsageError

    if not sys.stdout.isatty():
        raise UsageError(
            "standard output is no terminal",
            operation="watch the status",
            remedy="use 'dropscribe status --json' in scripts",
        )
    console = Console(highlight=False)
    backlog: Sequence[FolderBacklog] = ()
    measured = 0.0
    with (
        suppress(KeyboardInterrupt),
        Live(console=console, screen=True, auto_refresh=False, transient=True) as live,
    ):
        while True:
            now = time.monotonic()
            screen, fresh = read(location, None if now < measured + MEASURED_S else ())
            if fresh is not None:
                backlog, measured = fresh, now
            shown = replace(screen, backlog=backlog)
            lines = shown.lines(console.width, console.height)
            live.update(Group(*map(styled, lines)), refresh=True)
            time.sleep(RENEWED_S)


def read(
    location: DatabaseLocation, backlog: Sequence[FolderBacklog] | None
) -> tuple[Screen, Sequence[FolderBacklog] | None]:
    """What is to be shown now; the queue is measured unless `backlog` is None."""
    from dropscribe.ledger import backend
    from dropscribe.views.status import held_problems, problems, queue_of, read_process
    from dropscribe.views.watching import Screen

    now = time.time()
    process, queue, fresh = read_process(location), None, None
    if backend.exists(location):
        with closing(backend.open_read_only(location)) as ledger:
            queue = queue_of(ledger, now)
            fresh = None if backlog is None else ledger.backlog()
    wrong = [*problems(process, now), *(held_problems(queue) if queue else ())]
    on_gpu = "cuda" in str(((process.said or {}).get("engine") or {}).get("device", ""))
    return Screen(now, process, queue, fresh or (), wrong, _gpus() if on_gpu else ()), fresh


def styled(line: Line) -> Text:
    """A line in colours."""
    from rich.text import Text

    text = Text(no_wrap=True)
    for part in line:
        text.append(part.text, _STYLES.get(part.style.value, ""))
    return text


def _gpus() -> list[Gpu]:
    """The GPUs of this machine, as nvidia-smi measures them; none without it."""
    command = ["nvidia-smi", f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=RENEWED_S)
    except (OSError, subprocess.SubprocessError):
        return []
    return parse_gpus(done.stdout)


def parse_gpus(text: str) -> list[Gpu]:
    """Parse lines such as `0, 37, 1024, 143771` (index, percent, MiB, MiB); lines without numbers are left out."""
    from dropscribe.views.watching import Gpu

    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        try:
            found.append(Gpu(parts[0], float(parts[1]), int(parts[2]) << 20, int(parts[3]) << 20))
        except (IndexError, ValueError):
            continue
    return found
