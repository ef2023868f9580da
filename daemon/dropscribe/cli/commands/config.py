"""`dropscribe config`: print the settings in force and the source of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.config import Loaded

CONFIG_SCHEMA = "dropscribe/config/1"


def command(
    config: options.Config = None,
    watch: options.Watch = None,
    database: options.Database = None,
    model: options.Model = None,
    vad_model: options.VadModel = None,
    device: options.Device = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/config/1 as JSON.")] = False,
) -> None:
    """Print every setting in force and where it comes from.

    A setting comes from the configuration file, the command line or the defaults. With the options of 'run' it shows what
    'run' would work with.

    JSON, dropscribe/config/1: file (null if none), found (how; null if none), settings [{name (dotted), value, source (a file, "command line", "embedded" or "default")}].
    """
    from dropscribe.cli.arguments.settings import in_force
    from dropscribe.cli.commands.init import toml_value
    from dropscribe.cli.output import print_json, say
    from dropscribe.config import OLD_MODEL_NAMES, places
    from dropscribe.escapes import readable

    loaded = in_force(
        config=config, watch=watch, database=database, model=model, vad_model=vad_model, device=device
    )
    listed = list(settings_in_force(loaded))
    if as_json:
        document = {
            "schema": CONFIG_SCHEMA,
            "file": None if loaded.file is None else readable(loaded.file.absolute()),
            "found": loaded.how or None,
            "settings": [{"name": n, "value": v, "source": s} for n, v, s in listed],
        }
        print_json(document)
        return
    older = {f"engine.{name}" for name in OLD_MODEL_NAMES}
    if loaded.file is not None:
        say(f"# configuration: {readable(loaded.file.absolute())} ({loaded.how})")
    elif watch:
        say("# configuration: none, because of --watch (embedded defaults)")
    else:
        looked = ", ".join(readable(place.file) for place in places())
        say(f"# configuration: none found (embedded defaults; looked for {looked})")
    rows = [
        (name, source, "(not set)" if value is None else toml_value(value))
        for name, value, source in listed
        if name not in older
    ]
    # Not as a table: the value may be a list of any length, to which a table would pad every line.
    rows.insert(0, ("setting", "from", "value"))
    names, sources = (max(len(row[column]) for row in rows) for column in (0, 1))
    for name, source, value in rows:
        say(f"{name:<{names}}  {source:<{sources}}  {value}")


def settings_in_force(loaded: Loaded) -> Iterator[tuple[str, Any, str]]:
    """Yield (dotted name, JSON value, source) of every setting. Folders are numbered from 0.

    Models are listed under their older names, too, for programs that read these.
    """
    from dropscribe.config import OLD_MODEL_NAMES
    from dropscribe.ledger.backend import location_of

    # The path that a URL became is none that a person wrote, and one with a password is refused here, too.
    server = location_of(loaded.settings).server
    for name, value in _leaves(loaded.settings.model_dump(by_alias=True), ""):
        shown = server if server and name == "database" else value
        yield name, shown, loaded.sources.get(name, "default")
    for old, role in OLD_MODEL_NAMES.items():
        source = loaded.sources.get(f"engine.models.{role}", "default")
        yield f"engine.{old}", getattr(loaded.settings.engine.models, role), source


def _leaves(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{name}.")
        elif isinstance(value, (tuple, list)) and value and isinstance(value[0], Mapping):
            for i, item in enumerate(value):
                yield from _leaves(item, f"{name}.{i}.")
        else:
            yield name, _plain(value)


def _plain(value: Any) -> Any:
    from dropscribe.escapes import readable

    if isinstance(value, Path):
        return readable(value)
    if isinstance(value, (tuple, list)):
        return [_plain(v) for v in value]
    return value
