"""`dropscribe init`: write a commented configuration file, generated from the descriptions of the settings."""

from __future__ import annotations

import contextlib
import os
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

INIT_SCHEMA = "dropscribe/init/1"
SYSTEM_FILE = Path("/etc/dropscribe/dropscribe.toml")
#: Width of comments, characters.
_COLUMNS = 100
#: Larger than any configuration, bytes: such a file is not replaced.
_MOST_BYTES = 16 << 20

#: Settings with a value in the file of the service; all others are comments with their defaults.
_SET: Mapping[str, Any] = MappingProxyType(
    {
        "database": "/var/lib/dropscribe/jobs.db",
        "engine.models.asr": "paraformer-zh",
        "engine.models.vad": "fsmn-vad",
        "engine.device": "auto",
        "folder.path": "/srv/dropscribe/inbox",
        "folder.profile": "default",
    }
)
#: Names beside a configuration file that is not that of the service: the watched folder and the database.
_LOCAL_FOLDER, _LOCAL_DATABASE = "drop", "jobs.db"
#: Example values of settings that have no default value.
_EXAMPLES: Mapping[str, Any] = MappingProxyType(
    {
        "folder.pace": "60/h",
        "profiles.default.output_dir": "/srv/dropscribe/transcripts",
        "profiles.default.hotwords_file": "/etc/dropscribe/hotwords.txt",
        "profiles.default.subtitle_max_chars": 18,
        "profiles.default.models.asr": "iic/SenseVoiceSmall",
        "profiles.default.models.vad": "fsmn-vad",
        "profiles.default.models.speakers": "cam++",
        "engine.batch_s": 600,
        "engine.model_memory_mb": 4096,
        "engine.gpu_memory": 0.5,
        "engine.threads": 8,
        "media.decoders": 4,
        "service.metrics_file": "/var/lib/prometheus/node-exporter/dropscribe.prom",
        "web.token_file": "/etc/dropscribe/web.token",
        "web.visitor_header": "X-Remote-User",
        "web.openai_folder": "/srv/dropscribe/inbox",
        "cluster.address": "head.example.org:6379",
        "notify.name": "operations",
        "notify.url": "https://hooks.example.org/dropscribe",
        "notify.url_file": "/etc/dropscribe/webhook.url",
        "notify.apprise_file": "/etc/dropscribe/apprise.urls",
        "notify.command": ("/usr/local/bin/on-transcript", "--queue", "court"),
    }
)


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", readable=False, help="File to write.")] = Path(
        "dropscribe.toml"
    ),
    *,
    system: Annotated[
        bool, typer.Option("--system", help=f"Write {SYSTEM_FILE}, for the systemd service.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file, which is kept as FILE.bak.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print dropscribe/init/1 as JSON.")] = False,
) -> None:
    """Write a commented configuration file.

    It has every setting with its meaning and its default. The watched folder is drop beside the file, which is made, and the
    database jobs.db beside it; with --system they are those of the service, which are not made.

    JSON, dropscribe/init/1: file (as written), backup (the replaced file, or null), folder (the watched folder).
    """
    from dropscribe.cli.output import print_json, say
    from dropscribe.escapes import readable

    target = (SYSTEM_FILE if system else file).absolute()
    _demand_folder(target)
    text = production_file(None if system else target.parent)
    backup = _write(target, text.encode(), force=force)
    folder = Path(_SET["folder.path"]) if system else target.parent / _LOCAL_FOLDER
    made = not system and _make_folder(folder)
    if as_json:
        backup_text = None if backup is None else readable(backup)
        document = {"file": readable(target), "backup": backup_text, "folder": readable(folder)}
        print_json({"schema": INIT_SCHEMA, **document})
        return
    say(f"wrote {readable(target)}")
    if backup is not None:
        say(f"the file that was there is now {readable(backup)}")
    say(f"{'made' if made else 'watched:'} {readable(folder)}{', the folder to watch' if made else ''}")
    found = system or target == Path("dropscribe.toml").absolute()
    option = "" if found else f" --config {shlex.quote(readable(target))}"
    say(f"next: dropscribe models fetch{option}   (1 GB, once)")
    say(f"      dropscribe doctor{option}")
    if not system:
        say(f"      dropscribe run{option}")


def _demand_folder(target: Path) -> None:
    """Raise UsageError if there is no folder for the file: folders above it are not made without a word."""
    from dropscribe.errors import UsageError

    try:
        target.parent.stat()
    except FileNotFoundError as e:
        raise UsageError(
            f"there is no folder {target.parent}",
            operation="write configuration",
            path=target,
            remedy=f"make it first: mkdir -p {shlex.quote(str(target.parent))}",
        ) from e
    except OSError:
        return  # writing the file fails in the same way, with its own remedy


def _make_folder(folder: Path) -> bool:
    """Make the folder to watch; False if it is there. Raises StorageError."""
    from dropscribe.errors import StorageError

    try:
        folder.mkdir()
    except FileExistsError:
        return False
    except OSError as e:
        raise StorageError.from_system(
            e,
            operation="make folder",
            path=folder,
            remedy="make it by hand, or change [[folder]] path in the configuration",
        ) from e
    return True


def production_file(directory: Path | None = None, values: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Text of the file: TOML in which each setting that is not set is a comment with its default.

    `directory`: that of the file, for local paths; None: paths of the service. `values`: of settings by their dotted names.
    """
    from dropscribe import config

    values = {**_SET, **values}
    if directory is not None:
        values |= {"database": directory / _LOCAL_DATABASE, "folder.path": directory / _LOCAL_FOLDER}
    lines = [
        "# Configuration of dropscribe. A setting that is commented out has the value shown.",
        "# 'dropscribe config' prints what is in force, 'dropscribe doctor' checks that it works.",
        "",
    ]
    for name in ("database", "host"):
        lines += _setting(name, config.Settings.model_fields[name], name, values)
    for name, model in (("engine", config.EngineSettings), ("engine.models", config.Models),
                        ("media", config.MediaSettings), ("service", config.ServiceSettings), ("web", config.WebSettings),
                        ("cluster", config.ClusterSettings)):  # fmt: skip
        lines += _section(f"[{name}]", model, name, values)
    lines += _section("[profiles.default]", config.Profile, "profiles.default", values)
    lines += _section("[profiles.default.models]", config.ProfileModels, "profiles.default.models", values)
    lines += _section("[[folder]]", config.Folder, "folder", values)
    lines += _section("# [[notify]]", config.NotifySettings, "notify", values)
    return "\n".join(lines).rstrip() + "\n"


def toml_value(value: Any) -> str:
    """TOML literal of a setting's value."""
    import json

    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return str(value)
        case tuple() | list():
            return "[" + ", ".join(toml_value(v) for v in value) + "]"
        case _:
            # A JSON string is a TOML basic string, except that TOML requires DEL to be escaped.
            return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")


def _section(header: str, model: Any, prefix: str, values: Mapping[str, Any]) -> Iterator[str]:
    """Lines of one table of the file. `model`: settings class; `field` in `_setting`: one of its `model_fields`."""
    from dropscribe.config import settings_of

    yield f"# {'-' * 40}"
    yield from _comment((model.__doc__ or "").strip())
    yield header
    yield ""
    for name, field in settings_of(model).items():
        yield from _setting(name, field, f"{prefix}.{name}", values)


def _setting(name: str, field: Any, dotted: str, values: Mapping[str, Any]) -> Iterator[str]:
    yield from _comment(field.description or "")
    if dotted in values:
        value = toml_value(values[dotted])
        if not field.is_required() and toml_value(field.default) != value:
            yield from _comment(f"Default: {toml_value(field.default)}")
        yield f"{name} = {value}"
    elif field.is_required():
        yield f"# {name} = {toml_value(_EXAMPLES[dotted])}"
    elif field.default is None:
        yield f"# {name} = {toml_value(_EXAMPLES[dotted])}  # an example; not set by default"
    else:
        yield from _commented_out(name, field.default)
    yield ""


def _commented_out(name: str, value: Any) -> Iterator[str]:
    line = f"# {name} = {toml_value(value)}"
    if len(line) <= _COLUMNS or not isinstance(value, tuple):
        yield line
        return
    yield f"# {name} = ["
    items = ", ".join(toml_value(v) for v in value)
    yield from (f"#   {part}" for part in textwrap.wrap(items, _COLUMNS - 4))
    yield "# ]"


def _comment(text: str) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(text, _COLUMNS, break_on_hyphens=False))


def _write(target: Path, data: bytes, *, force: bool) -> Path | None:
    """Write the file; returns the path of the backup of a replaced one, else None. Raises UsageError, StorageError."""
    from dropscribe.errors import OutputTakenError, StorageError, UsageError
    from dropscribe.files import opened
    from dropscribe.transcript.placing.publish import PendingFile, publish
    from dropscribe.transcript.placing.rename import place_new
    from dropscribe.transcript.placing.standing import digest

    backup = None
    replaces = None
    if force:
        try:
            # A missing folder is created by `publish`.
            with contextlib.suppress(FileNotFoundError), opened(target.parent) as directory:
                replaces = digest(directory, target.name, lambda size: size <= _MOST_BYTES) or None
                if replaces is not None:
                    backup = next(b for b in _backups(target) if not os.path.lexists(b))
                    place_new(directory, target.name, backup.name)
        except OSError as e:
            raise StorageError.from_system(
                e,
                operation="keep a copy of",
                path=target,
                remedy="move the file away by hand",
            ) from e
    try:
        publish([PendingFile(target, data, replaces)])
    except OutputTakenError as e:
        raise UsageError(
            "the file exists",
            operation="write configuration",
            path=target,
            remedy="name another file, or let --force replace it (a copy is kept)",
        ) from e
    except StorageError as e:
        raise StorageError(
            e.reason,
            operation="write configuration",
            path=target,
            remedy="name a file in a folder that this user may write to",
        ) from e
    return backup


def _backups(target: Path) -> Iterator[Path]:
    yield target.with_name(f"{target.name}.bak")
    number = 2
    while True:
        yield target.with_name(f"{target.name}.bak.{number}")
        number += 1
