"""Describe wrong settings for people: the setting, the value given, what is allowed, the likely intention.

`type_text` also describes the settings in docs/configuration.md.
"""

from __future__ import annotations

import difflib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from dropscribe.notify_settings import NotifySettings
from dropscribe.settings import (
    ClusterSettings,
    EngineSettings,
    Folder,
    MediaSettings,
    Models,
    Profile,
    ProfileModels,
    ServiceSettings,
    Settings,
    WebSettings,
)

#: Longest value quoted in a message, characters.
_VALUE_CHARS = 60
#: Section of each settings class, as it is written in the file.
_SECTIONS: Mapping[type[BaseModel], str] = types.MappingProxyType(
    {
        EngineSettings: "[engine]",
        Models: "[engine.models]",
        MediaSettings: "[media]",
        ServiceSettings: "[service]",
        Profile: "[profiles.default]",
        ProfileModels: "[profiles.default.models]",
        Folder: "[[folder]]",
        NotifySettings: "[[notify]]",
        WebSettings: "[web]",
        ClusterSettings: "[cluster]",
    }
)
_EXAMPLE = "'dropscribe init' writes a commented example"


def describe(error: ValidationError) -> tuple[str, str]:
    """Reason and remedy of the first error; the number of further ones is in the reason."""
    first, *others = error.errors()
    reason, remedy = _describe(first)
    # A list with a wrong entry is reported a second time, as too short.
    more = sum(e["loc"] != first["loc"][: len(e["loc"])] for e in others)
    if more:
        reason += f"; {more} more {'setting is' if more == 1 else 'settings are'} wrong"
    return reason, remedy


def _describe(error: Any) -> tuple[str, str]:
    at: tuple[Any, ...] = error["loc"]
    name, kind, value = ".".join(map(str, at)), error["type"], error["input"]
    if kind == "extra_forbidden":
        return f"{name}: there is no such setting", _intended(at, value) or _EXAMPLE
    if kind == "missing":
        return f"{name} is missing", f"add {at[-1]} = … to that section; {_EXAMPLE}"
    if kind == "value_error":
        text = str(error["msg"]).removeprefix("Value error, ")
        return (f"{name}: {text}" if name else text), _EXAMPLE
    annotation, metadata = _declared(at)
    section = _SECTIONS.get(annotation) if isinstance(annotation, type) else None
    if section is not None or kind in ("dict_type", "model_type"):
        return _not_a_table(name, at, section)
    if at in {("folder",), ("notify",)}:
        return f"{name} is not a list of tables", f"write [[{name}]], with two brackets on each side"
    if annotation is None:
        return f"{name} is {shown(value)}: {error['msg']}", _EXAMPLE
    return f"{name} is {shown(value)}, but must be {allowed(annotation, metadata)}", _EXAMPLE


def _not_a_table(name: str, at: tuple[Any, ...], section: str | None) -> tuple[str, str]:
    if at[0] == "profiles" and len(at) > 1 and at[1] in Profile.model_fields:
        return f"{name}: there is no such setting", f"write {at[1]} below [profiles.default], or another name"
    if at[0] == "profiles":
        section = f"[profiles.{at[1]}]" if len(at) > 1 else "[profiles.default]"
    elif section in {"[[folder]]", "[[notify]]"}:
        return f"{name} is not a table", f"write {section} in a line of its own, and its settings below"
    return (
        f"{name} is not a table",
        f"write {section or f'[{name}]'} in a line of its own, and its settings below",
    )


def allowed(annotation: Any, metadata: Sequence[Any]) -> str:
    """What a setting takes, with an article: `a number, 1 to 60`, `one of a, b`, `a list of text`."""
    text = type_text(annotation, metadata)
    if text.startswith(("number", "whole", "list")):
        return f"a {text}"
    if text.startswith("path"):
        return "a path, in quotes"
    return "text, in quotes" + text.removeprefix("text") if text.startswith("text") else text


def shown(value: Any) -> str:
    """A value as it is written in TOML, shortened."""
    match value:
        case datetime() | date() | time():
            text = value.isoformat()
        case dict():
            return "a table"
        case Path():
            text = json.dumps(str(value), ensure_ascii=False)
        case _:
            text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _VALUE_CHARS else f"{text[: _VALUE_CHARS - 1]}…"


def type_text(annotation: Any, metadata: Sequence[Any], quote: str = "") -> str:
    """A type and its bounds in words: `number, 0 to 86400`. `quote` stands around each literal value."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner = arguments[1:]
        return type_text(
            arguments[0], [*metadata, *(b for m in inner for b in getattr(m, "metadata", [m]))], quote
        )
    if origin in (typing.Union, types.UnionType):
        kinds = [type_text(a, metadata, quote) for a in arguments if a is not type(None)]
        return ", or ".join(kinds)
    if origin is Literal:
        return "one of " + ", ".join(f"{quote}{a}{quote}" for a in arguments)
    if origin is tuple:
        inside = type_text(arguments[0], [], quote).removeprefix("one of ")
        return f"list of {inside}{_length(metadata, 'entry', 'entries')}"
    names = {
        str: "text", int: "whole number", float: "number", bool: f"{quote}true{quote} or {quote}false{quote}", Path: "path",
    }  # fmt: skip
    bounds = _bounds(metadata) if annotation in (int, float) else _length(metadata, "character", "characters")
    return names[annotation] + bounds


def _bounds(metadata: Sequence[Any]) -> str:
    # The classes of bounds are those of annotated_types, which is known by its attributes here.
    least, above, most = (
        next((getattr(m, name) for m in metadata if getattr(m, name, None) is not None), None)
        for name in ("ge", "gt", "le")
    )
    low = "" if least is None else f"{least:g}"
    if above is not None:
        low = f"more than {above:g}"
    if low and most is not None:
        return f", {low} to {f'{most:g}' if most < 1e6 else most}"
    return f", {low if above is not None else f'{low} or more'}" if low else ""


def _length(metadata: Sequence[Any], one: str, many: str) -> str:
    parts, last = [], 1
    for bound in metadata:
        for name, words in (("min_length", "at least"), ("max_length", "at most")):
            number = getattr(bound, name, None)
            if number:
                parts.append(f"{words} {number}")
                last = number
    return f" of {' and '.join(parts)} {one if last == 1 else many}" if parts else ""


def _declared(at: tuple[Any, ...]) -> tuple[Any, Sequence[Any]]:
    """Type and bounds of the setting at a location; (None, ()) if there is none."""
    annotation: Any = Settings
    metadata: Sequence[Any] = ()
    for part in at:
        annotation = _without_none(annotation)
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = next((f for n, f in annotation.model_fields.items() if part in (n, f.alias)), None)
            if field is None:
                return None, ()
            annotation, metadata = field.annotation, field.metadata
        elif typing.get_origin(annotation) in (tuple, dict):
            metadata = ()
            annotation = typing.get_args(annotation)[0 if typing.get_origin(annotation) is tuple else 1]
        else:
            return None, ()
    return annotation, metadata


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return next(a for a in typing.get_args(annotation) if a is not type(None))
    return annotation


def _intended(at: tuple[Any, ...], value: Any) -> str:
    """Suggestion for a name that is no setting; "" if none is similar."""
    name = str(at[-1])
    section = _declared(at[:-1])[0]
    own = list(_names(section)) if isinstance(section, type) and issubclass(section, BaseModel) else []
    elsewhere = {n: header for model, header in _SECTIONS.items() for n in _names(model)} | {
        "database": "the top"
    }
    is_section = section is Settings and isinstance(value, (dict, list))
    if name in elsewhere and not is_section:
        return f"'{name}' belongs in {elsewhere[name]}" + (" of the file" if name == "database" else "")
    near = difflib.get_close_matches(name, own, n=1)
    if near and section is Settings and near[0] != "database":
        inner = next(iter(value), "default") if isinstance(value, dict) else "default"
        written = {"profiles": f"[profiles.{inner}]", "folder": "[[folder]]", "notify": "[[notify]]"}.get(
            near[0], f"[{near[0]}]"
        )
        return f"did you mean {written}?"
    if near:
        return f"did you mean '{near[0]}'?"
    near = difflib.get_close_matches(name, elsewhere, n=1)
    return f"did you mean '{near[0]}', in {elsewhere[near[0]]}?" if near else ""


def _names(model: type[BaseModel]) -> Iterator[str]:
    return (f.alias or name for name, f in model.model_fields.items())
