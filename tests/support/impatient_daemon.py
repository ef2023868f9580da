"""`dropscribe` that reports a hanging file system after seconds instead of a minute.

Usage: `python tests/support/impatient_daemon.py PUBLISHING_PROCESSES run …`.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any


def main() -> None:
    from dropscribe.intake import runner  # noqa: PLC0415 - children that import this module must not run it
    from dropscribe.service import activity  # noqa: PLC0415

    processes = int(sys.argv.pop(1))
    makers: Any = importlib.import_module("dropscribe.service.publishing.making.makers")
    makers.publisher_count = lambda: processes
    runner.HUNG_S = activity.HUNG_S = 6.0
    from dropscribe.cli.app import main as dropscribe  # noqa: PLC0415 - after the limits are set

    dropscribe()


if __name__ == "__main__":
    main()
