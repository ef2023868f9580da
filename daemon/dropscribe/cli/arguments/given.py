"""Options that a group of commands accepts both before and after the name of a subcommand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer


@dataclass(frozen=True, slots=True)
class Given:
    """Values of these options."""

    config: Path | None
    database: Path | None
    as_json: bool


def merged(context: typer.Context, config: Path | None, database: Path | None, as_json: bool) -> Given:
    """Options after the name of the subcommand, else those before it, which the group keeps in `context.obj`."""
    before: Given = context.obj
    return Given(config or before.config, database or before.database, as_json or before.as_json)
