"""Read and validate settings. Every error names the file, the field and the remedy.

`load` reads a TOML file; `embedded` returns the settings of `dropscribe run --watch DIR`. No other module reads files
or environment variables for settings.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dropscribe.errors import ConfigError
from dropscribe.formats import RECORDING_EXTENSIONS
from dropscribe.settings import (
    OLD_MODEL_NAMES,
    EngineSettings,
    Folder,
    Format,
    MediaSettings,
    Models,
    Profile,
    ServiceSettings,
    Settings,
)

__all__ = [
    "OLD_MODEL_NAMES",
    "RECORDING_EXTENSIONS",
    "SEARCH_PATH",
    "EngineSettings",
    "Folder",
    "Format",
    "Loaded",
    "MediaSettings",
    "Models",
    "Profile",
    "ServiceSettings",
    "Settings",
    "embedded",
    "find",
    "foreign_names",
    "load",
    "override",
    "settings_of",
]

#: Configuration files tried when none is named; the first that exists is used.
SEARCH_PATH: tuple[Path, ...] = (Path("dropscribe.toml"), Path("/etc/dropscribe/dropscribe.toml"))


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and their origin. `sources` maps dotted names to a file, "command line" or "embedded"."""

    settings: Settings
    file: Path | None
    sources: dict[str, str]


def find(explicit: Path | None) -> Path | None:
    """The configuration file to use: named, $DROPSCRIBE_CONFIG, else the first of `SEARCH_PATH` that exists."""
    if explicit is not None:
        return explicit
    named = os.environ.get("DROPSCRIBE_CONFIG")
    if named:
        return Path(named)
    return next((p for p in SEARCH_PATH if p.is_file()), None)


def load(file: Path) -> Loaded:
    """Read and validate one TOML file. Raises ConfigError naming file, field and remedy."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as e:
        raise ConfigError(
            "no such file",
            operation="read configuration",
            path=file,
            remedy="'dropscribe init' writes one",
        ) from e
    except OSError as e:
        raise ConfigError(
            e.strerror or str(e),
            operation="read configuration",
            path=file,
            remedy="make it readable for the user the daemon runs as",
        ) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(
            f"not valid TOML: {e}",
            operation="read configuration",
            path=file,
            remedy="correct that line; strings need quotes",
        ) from e
    return Loaded(_validate(raw, file), file, dict.fromkeys(map(_current_name, _leaves(raw)), str(file)))


def foreign_names(file: Path) -> frozenset[str]:
    """Names in a TOML file that are not names of settings: profiles and misspellings. Empty for invalid TOML."""
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return frozenset()
    return frozenset(_keys(raw)) - set(_names())


def embedded(
    watch: tuple[Path, ...],
    *,
    database: Path | None = None,
    model: str | None = None,
    vad_model: str | None = None,
    device: str | None = None,
) -> Loaded:
    """Settings without a file: watch `watch` with the bundled demonstration models, database in the current directory."""
    engine: dict[str, Any] = {"models": {"asr": model or "paraformer-mini", "vad": vad_model or "vad-mini"}}
    if device is not None:
        engine["device"] = device
    raw: dict[str, Any] = {
        "database": str(database or Path.cwd() / "jobs.db"),
        "folder": [{"path": str(p.absolute())} for p in watch],
        "engine": engine,
    }
    given = {
        "database": database,
        "engine.models.asr": model,
        "engine.models.vad": vad_model,
        "engine.device": device,
    }
    sources = {
        leaf: "command line" if leaf.startswith("folder") or given.get(leaf) is not None else "embedded"
        for leaf in _leaves(raw)
    }
    return Loaded(_validate(raw, None), None, sources)


def override(loaded: Loaded, **values: Any) -> Loaded:
    """Override settings by command-line values. Keys are dotted names with `__` for the dot; None means not given."""
    data = loaded.settings.model_dump(by_alias=True, mode="python")
    sources = dict(loaded.sources)
    for key, value in values.items():
        if value is None:
            continue
        *groups, leaf = key.split("__")
        target = data
        for group in groups:
            target = target[group]
        target[leaf] = value
        sources[key.replace("__", ".")] = "command line"
    return Loaded(_validate(data, loaded.file), loaded.file, sources)


def settings_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields written in a section of the file, without older names and nested sections."""
    return {
        name: field
        for name, field in section.model_fields.items()
        if not field.exclude and field.annotation is not Models
    }


def _validate(raw: dict[str, Any], file: Path | None) -> Settings:
    try:
        return Settings.model_validate(raw)
    except ValidationError as e:
        first = e.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        message = str(first["msg"]).removeprefix("Value error, ")
        remedy = "'dropscribe init' writes a commented example"
        if first["type"] == "extra_forbidden":
            message = "there is no such setting"
            near = difflib.get_close_matches(str(first["loc"][-1]), _names(), n=1)
            if near:
                remedy = f"did you mean '{near[0]}'?"
        elif first["type"] == "tuple_type":
            # pydantic's message names a tuple; TOML has only lists.
            message = "Input should be a list, in square brackets"
        raise ConfigError(
            f"{field}: {message}",
            operation="read configuration" if file else "check options",
            path=file,
            remedy=remedy,
        ) from e


def _current_name(dotted: str) -> str:
    """Current name of a setting that may be given under an older one."""
    old = dotted.removeprefix("engine.")
    return f"engine.models.{OLD_MODEL_NAMES[old]}" if dotted != old and old in OLD_MODEL_NAMES else dotted


def _names() -> list[str]:
    """Names of all settings, for suggestions."""
    models = (Settings, Folder, Profile, EngineSettings, Models, MediaSettings, ServiceSettings)
    return [f.alias or name for m in models for name, f in m.model_fields.items()]


def _keys(value: Any) -> Iterator[str]:
    """All keys of a TOML document, at any depth."""
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(inner)


def _leaves(raw: dict[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of all values in a TOML document; tables of an array are numbered from 0."""
    out: list[str] = []
    for key, value in raw.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            out += _leaves(value, f"{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for i, item in enumerate(value):
                out += _leaves(item, f"{name}.{i}.")
        else:
            out.append(name)
    return out
