"""`dropscribe` that reports a hanging file system after seconds instead of a minute.

Usage: `python tests/support/impatient_daemon.py run …`.
"""

from __future__ import annotations


def main() -> None:
    from dropscribe.intake import runner  # noqa: PLC0415 - children that import this module must not run it
    from dropscribe.service import activity  # noqa: PLC0415

    runner.HUNG_S = activity.HUNG_S = 6.0
    from dropscribe.cli.app import main as dropscribe  # noqa: PLC0415 - after the limits are set

    dropscribe()


if __name__ == "__main__":
    main()
