"""`dropscribe` whose sender of notifications leases messages for two seconds instead of a minute.

Usage: `python tests/support/impatient_sender.py notify run …`.
"""

from __future__ import annotations


def main() -> None:
    from dropscribe.notify import sender  # noqa: PLC0415 - children that import this module must not run it

    sender.LEASE_S, sender.RENEW_S = 2.0, 0.5
    from dropscribe.cli.app import main as dropscribe  # noqa: PLC0415 - after the lease is set

    dropscribe()


if __name__ == "__main__":
    main()
