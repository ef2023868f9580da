"""`dropscribe` under a system clock that a test sets: `python tests/support/clocked_daemon.py FILE run …`.

FILE holds by how many seconds the clock is ahead of the real one, and is read at each look at the clock. Child processes
have the real clock: they measure only how long things take.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path


def main() -> None:
    ahead = Path(sys.argv.pop(1))
    real = time.time
    time.time = lambda: real() + float(ahead.read_text(encoding="ascii"))
    from dropscribe.cli.app import main as dropscribe  # noqa: PLC0415 - after the clock was replaced

    dropscribe()


if __name__ == "__main__":
    main()
