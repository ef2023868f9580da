"""Locate the job history; print paths of recordings."""

from __future__ import annotations

import os
from pathlib import Path

from dropscribe.ledger.interface import DatabaseLocation
from dropscribe.views.fields import readable


def database_location(config: Path | None, database: Path | None) -> DatabaseLocation:
    """The database named, else that of the configuration in force, else ./jobs.db. Raises ConfigError."""
    from dropscribe.cli.settings import in_force

    named = in_force(config=config).settings.database if database is None else database
    return DatabaseLocation(named.absolute())


def brief(path: Path) -> str:
    """A path for printing, relative to the working directory where it lies below it."""
    here = Path(os.curdir).absolute()
    return readable(path.relative_to(here) if path.is_relative_to(here) else path)
