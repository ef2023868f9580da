"""`dropscribe` that reports a file system after seconds instead of a minute: `python tests/support/impatient_daemon.py run …`."""

from __future__ import annotations


def main() -> None:
    from dropscribe.intake import runner  # noqa: PLC0415 - nothing of it may run in the children that import this module
    from dropscribe.service import activity  # noqa: PLC0415

    runner.HUNG_S = activity.HUNG_S = 6.0
    from dropscribe.cli.app import main as dropscribe  # noqa: PLC0415 - after that

    dropscribe()


if __name__ == "__main__":
    main()
