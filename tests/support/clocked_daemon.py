"""`dropscribe` with a system clock that a test sets: `python tests/support/clocked_daemon.py FILE run …`.

FILE has the offset of the clock from the real one, seconds; it is read at each reading of the clock. Child
processes use the real clock: they only measure durations.
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
