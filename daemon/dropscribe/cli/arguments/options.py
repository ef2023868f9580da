"""Options that several commands share, so that they look the same in each.

Every option has a `metavar`: without one typer prints the name of a Python type, such as `<list[Path]>`. Paths have `readable=False`:
their errors are those of the command that uses them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        readable=False,
        help="Configuration file (TOML). Default: the first one found; see 'dropscribe config'.",
    ),
]
Watch = Annotated[
    list[Path] | None,
    typer.Option(
        "--watch",
        metavar="DIR",
        readable=False,
        help="Watch this folder, with built-in settings instead of a configuration file. May be repeated.",
    ),
]
Database = Annotated[
    Path | None,
    typer.Option(
        "--database",
        metavar="FILE",
        readable=False,
        help="Database of the job history: a file, or postgresql://USER@HOST/NAME. Default: the one of the configuration, "
        "else ./jobs.db.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="MODEL", help="Speech recogniser: the name of a model, or its directory."
    ),
]
VadModel = Annotated[
    str | None,
    typer.Option(
        "--vad-model", metavar="MODEL", help="Voice activity detector: the name of a model, or its directory."
    ),
]
Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="ADDRESS",
        help="Let the machines of this Ray cluster do the work: HOST:PORT, or auto for the one that this machine is part of.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        metavar="DEVICE",
        help="auto (a GPU if there is one), cpu, cuda:0, cuda (every GPU), or a list: cuda:0,cuda:1.",
    ),
]
