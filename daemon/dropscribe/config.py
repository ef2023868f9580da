"""Read and validate settings. Every error names the file, the field and the remedy.

`load` reads a TOML file; `embedded` returns the settings of `dropscribe run --watch DIR`. No other module reads files
or environment variables for settings.
"""

from __future__ import annotations

import codecs
import os
import stat
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from dropscribe import hotword_files
from dropscribe.errors import ConfigError
from dropscribe.formats import RECORDING_EXTENSIONS
from dropscribe.hotword_files import HotwordList
from dropscribe.notify_settings import NotifySettings
from dropscribe.settings import (
    MOST_HOTWORDS,
    OLD_MODEL_NAMES,
    ClusterSettings,
    EngineSettings,
    Folder,
    Format,
    MediaSettings,
    Models,
    Profile,
    ProfileModels,
    ServiceSettings,
    Settings,
    WebSettings,
)
from dropscribe.settings_errors import describe

__all__ = [
    "OLD_MODEL_NAMES",
    "RECORDING_EXTENSIONS",
    "SYSTEM_FILE",
    "ClusterSettings",
    "EngineSettings",
    "Folder",
    "Format",
    "Found",
    "Loaded",
    "MediaSettings",
    "Models",
    "NotifySettings",
    "Profile",
    "ProfileModels",
    "ServiceSettings",
    "Settings",
    "WebSettings",
    "embedded",
    "find",
    "foreign_names",
    "load",
    "override",
    "places",
    "settings_of",
]

#: The configuration file of the systemd service.
SYSTEM_FILE = Path("/etc/dropscribe/dropscribe.toml")
#: Name of a configuration file in the current directory, and in the folder `dropscribe` of the user's configuration.
FILE_NAME = "dropscribe.toml"
#: Larger than any configuration, bytes.
_MOST_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A configuration file, and how it was found: `named by --config`."""

    file: Path
    how: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings and their origin. `sources` maps dotted names to a file, "command line" or "embedded".

    `how`: how the file was found (see `Found`); "" without one.
    """

    settings: Settings
    file: Path | None
    sources: dict[str, str]
    how: str = ""
    #: What a person should know of the files that the settings name; each one line.
    notes: tuple[str, ...] = ()


def find(explicit: Path | None) -> Found | None:
    """The configuration file to use, for every command the same; None if there is none.

    The one named with --config, else by $DROPSCRIBE_CONFIG, else the first of `places` that exists. A directory that this
    user cannot enter counts as empty, but not that of `SYSTEM_FILE`: a service must not start without its configuration.
    """
    if explicit is not None:
        return Found(explicit, "named by --config")
    named = os.environ.get("DROPSCRIBE_CONFIG")
    if named:
        return Found(Path(named), "named by $DROPSCRIBE_CONFIG")
    return next((place for place in places() if _exists(place.file)), None)


def places() -> tuple[Found, ...]:
    """Where a configuration file is looked for if none is named, in this order."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    # Not Path.expanduser, which raises for a user without a home directory.
    user = Path(base if base.startswith("/") else os.path.expanduser("~/.config"))  # noqa: PTH111
    return (
        Found(Path(FILE_NAME), "found in the current directory"),
        Found(user / "dropscribe" / FILE_NAME, "found in the user's configuration folder"),
        Found(SYSTEM_FILE, "found as the configuration of this machine"),
    )


def _exists(file: Path) -> bool:
    try:
        file.stat()
    except PermissionError:
        return file == SYSTEM_FILE
    except OSError:
        return False
    return True


def load(found: Path | Found, *, lists: bool = True) -> Loaded:
    """Read and validate one TOML file. Raises ConfigError naming file, field and remedy.

    Relative paths of files and of `output_dir` are relative to the folder of the file. The hotwords of
    files are added to those of their profiles, unless `lists` is false: for who needs no hotwords, and may not be able to
    read these files.
    """
    file, how = (found.file, found.how) if isinstance(found, Found) else (found, "")
    raw = _parsed(_text(file), file)
    _resolve(raw, file.absolute().parent)
    sources = dict.fromkeys(map(_current_name, _leaves(raw)), str(file))
    loaded = Loaded(_validate(raw, file), file, sources, how)
    return _with_hotword_files(loaded, file) if lists else loaded


def _with_hotword_files(loaded: Loaded, file: Path) -> Loaded:
    """The same with the hotwords of the files that profiles name, and what is to be said of these files."""
    profiles, notes = dict(loaded.settings.profiles), []
    for name, profile in loaded.settings.profiles.items():
        if profile.hotwords_file is None:
            continue
        found = _hotwords(profile.hotwords_file, f"profiles.{name}.hotwords_file in {file}")
        words = tuple(dict.fromkeys((*profile.hotwords, *found.words)))
        if len(words) > MOST_HOTWORDS:
            raise ConfigError(
                f"with it, profile '{name}' has {len(words)} hotwords; {MOST_HOTWORDS} are possible",
                operation="read hotwords",
                path=profile.hotwords_file,
                remedy="keep the words that matter; the fewer the better",
            )
        profiles[name] = profile.model_copy(update={"hotwords": words})
        if found.weights:
            notes.append(f"{profile.hotwords_file}: weights are ignored (lines with one: {found.weights})")
    settings = loaded.settings.model_copy(update={"profiles": profiles})
    return replace(loaded, settings=settings, notes=tuple(notes))


def _hotwords(file: Path, named_by: str) -> HotwordList:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_BYTES + 1)
        return hotword_files.parse(data, _MOST_BYTES)
    except ValueError as e:
        remedy = "write one hotword a line"
        raise ConfigError(str(e), operation="read hotwords", path=file, remedy=remedy) from e
    except OSError as e:
        reason = e.strerror or str(e)
        remedy = f"bring it back, make it readable for this user, or change {named_by}"
        raise ConfigError(reason, operation="read hotwords", path=file, remedy=remedy) from e


def _text(file: Path) -> str:
    """Content of a configuration file. Raises ConfigError for everything but a readable text file in UTF-8."""
    try:
        # A pipe is opened without waiting for its writer, and then refused.
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise _unreadable("it is a folder", file, f"name a file, such as {file / FILE_NAME}")
            if not stat.S_ISREG(mode):
                raise _unreadable("it is not a regular file", file, "name a regular file")
            with open(descriptor, "rb", closefd=False) as opened:
                data = opened.read(_MOST_BYTES + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError as e:
        raise _unreadable("no such file", file, "'dropscribe init' writes one") from e
    except OSError as e:
        remedy = "make it readable for this user, or run the command as the user of the daemon"
        raise _unreadable(e.strerror or str(e), file, remedy) from e
    if len(data) > _MOST_BYTES:
        raise _unreadable("it is too large for a configuration", file, "name the TOML file")
    marks = {codecs.BOM_UTF32_LE: "UTF-32", codecs.BOM_UTF32_BE: "UTF-32", codecs.BOM_UTF16_LE: "UTF-16",
             codecs.BOM_UTF16_BE: "UTF-16"}  # fmt: skip
    encoding = next((name for mark, name in marks.items() if data.startswith(mark)), None)
    if encoding is None and b"\0" in data:
        likely = data[1::2].count(0) > len(data) // 4 or data[::2].count(0) > len(data) // 4
        if not likely:
            raise _unreadable("it is not a text file", file, "name the TOML file")
        encoding = "UTF-16"
    if encoding is not None:
        raise _unreadable(f"it is {encoding}", file, "save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        line = data.count(b"\n", 0, e.start) + 1
        guess = ", but likely GBK" if _is_gbk(data) else ""
        raise _unreadable(f"it is not UTF-8{guess} (at line {line})", file, "save it as UTF-8") from e


def _is_gbk(data: bytes) -> bool:
    """True for bytes that are Chinese text in GBK: other legacy encodings rarely decode to common characters only."""
    try:
        text = data.decode("gbk")
    except UnicodeDecodeError:
        return False
    foreign = [c for c in text if not c.isascii()]
    return all("\u3000" <= c <= "\u9fff" or "\uff00" <= c <= "\uffef" for c in foreign)


def _parsed(text: str, file: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(text)
    except RecursionError as e:
        raise _unreadable("not valid TOML: nested too deeply", file, "correct its brackets") from e
    except ValueError as e:  # TOMLDecodeError, and numbers of thousands of digits
        raise _unreadable(
            f"not valid TOML: {e}", file, "correct that line; text needs quotes, and \\ in it is written \\\\"
        ) from e
    for name, value in _texts(raw):
        if "\0" in value:
            raise _unreadable(f"{name} contains a NUL character", file, "remove \\u0000 from it")
    return raw


def _unreadable(reason: str, file: Path, remedy: str) -> ConfigError:
    return ConfigError(reason, operation="read configuration", path=file, remedy=remedy)


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a TOML document, with its dotted name."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, (dict, list)):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _texts(inner, f"{name}.{key}" if name else str(key))


def _resolve(raw: dict[str, Any], base: Path) -> None:
    """Make the relative paths of a TOML document absolute. Values of other types are left to validation."""
    profiles = raw.get("profiles")
    inner = profiles.values() if isinstance(profiles, dict) else ()
    named = [(p, key) for p in inner if isinstance(p, dict) for key in ("output_dir", "hotwords_file")]
    service = raw.get("service")
    if isinstance(service, dict):
        named.append((service, "metrics_file"))
    web = raw.get("web")
    if isinstance(web, dict):
        named.append((web, "token_file"))
    targets = raw.get("notify")
    for target in targets if isinstance(targets, list) else ():
        if isinstance(target, dict):
            named += [(target, "url_file"), (target, "apprise_file")]
            files = target.get("secret_files")
            if isinstance(files, list):
                target["secret_files"] = [str(base / f) if isinstance(f, str) and f else f for f in files]
    for table, key in ((raw, "database"), *named):
        # A database may be on a server.
        if isinstance(table.get(key), str) and table[key] and not table[key].startswith("postgresql:/"):
            table[key] = str(base / table[key])


def foreign_names(file: Path) -> frozenset[str]:
    """Names in a TOML file that are not names of settings: profiles and misspellings. Empty for invalid TOML."""
    try:
        raw = _parsed(_text(file), file)
    except ConfigError:
        return frozenset()
    return frozenset(_keys(raw)) - set(_names())


def embedded(
    watch: tuple[Path, ...],
    *,
    database: Path | None = None,
    model: str | None = None,
    vad_model: str | None = None,
    device: str | None = None,
    cluster: str | None = None,
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
    if cluster is not None:
        raw["cluster"] = {"address": cluster}
    given = {
        "database": database,
        "engine.models.asr": model,
        "engine.models.vad": vad_model,
        "engine.device": device,
        "cluster.address": cluster,
    }
    sources = {
        leaf: "command line" if leaf.startswith("folder") or given.get(leaf) is not None else "embedded"
        for leaf in _leaves(raw)
    }
    return Loaded(_validate(raw, None), None, sources)


def override(loaded: Loaded, **values: Any) -> Loaded:
    """Override settings by command-line values. Keys are dotted names with `__` for the dot; None means not given.

    A model goes over that of the default profile, too.
    """
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
        if groups == ["engine", "models"]:
            data["profiles"]["default"]["models"].pop(leaf, None)
        sources[key.replace("__", ".")] = "command line"
    return Loaded(_validate(data, loaded.file), loaded.file, sources, loaded.how, loaded.notes)


def settings_of(section: type[BaseModel]) -> dict[str, FieldInfo]:
    """Fields written in a section of the file, without older names and nested sections."""
    return {
        name: field
        for name, field in section.model_fields.items()
        if not field.exclude and field.annotation not in (Models, ProfileModels)
    }


def _validate(raw: dict[str, Any], file: Path | None) -> Settings:
    try:
        return Settings.model_validate(raw)
    except ValidationError as e:
        reason, remedy = describe(e)
        raise ConfigError(
            reason,
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
    models = (
        Settings,
        Folder,
        Profile,
        ProfileModels,
        EngineSettings,
        Models,
        MediaSettings,
        ServiceSettings,
        NotifySettings,
        WebSettings,
        ClusterSettings,
    )
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
