"""Manual page dropscribe.toml(5): every setting with its type, default and description."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dropscribe import config
from dropscribe.cli.commands.init import toml_value
from dropscribe.cli.manual import man
from dropscribe.settings_errors import type_text

#: Heading, settings class: in the order of the file that `dropscribe init` writes.
SECTIONS: tuple[tuple[str, Any], ...] = (
    ("Top level", config.Settings),
    ("[engine]", config.EngineSettings),
    ("[engine.models]", config.Models),
    ("[media]", config.MediaSettings),
    ("[service]", config.ServiceSettings),
    ("[web]", config.WebSettings),
    ("[cluster]", config.ClusterSettings),
    ("[profiles.NAME]", config.Profile),
    ("[profiles.NAME.models]", config.ProfileModels),
    ("[[folder]]", config.Folder),
    ("[[notify]]", config.NotifySettings),
)
#: Fields of `Settings` that are sections of their own.
NESTED = frozenset({"folders", "profiles", "engine", "media", "service", "cluster", "notify", "web"})


def fields(model: Any) -> Iterator[tuple[str, Any]]:
    """Names and fields of the settings of a section."""
    for name, field in config.settings_of(model).items():
        if model is not config.Settings or name not in NESTED:
            yield name, field


def page() -> str:
    """Text of the page."""
    lines = [
        *man.title("dropscribe.toml", 5, "configuration of dropscribe"),
        ".SH DESCRIPTION",
        man.escaped(
            "A TOML file. The first one found is read: the one of --config, of $DROPSCRIBE_CONFIG, in the current directory, in "
            "~/.config/dropscribe, in /etc/dropscribe. 'dropscribe init' writes one with every setting, 'dropscribe config' "
            "prints what is in force."
        ),
    ]
    for heading, model in SECTIONS:
        lines.append(f'.SH "{man.escaped(heading.upper() if heading == "Top level" else heading)}"')
        for name, field in fields(model):
            kind = type_text(field.annotation, field.metadata, "")
            default = "required" if field.is_required() else _default(field.default)
            lines += man.entry(
                f"\\fB{man.escaped(name)}\\fR ({man.escaped(f'{kind}; {default}')})",
                " ".join((field.description or "").split()),
            )
    also = "\\fBdropscribe\\fR(1),\n\\fBdropscribe\\-init\\fR(1),\n\\fBdropscribe\\-config\\fR(1)"
    lines += [".SH SEE ALSO", also]
    return "\n".join(lines) + "\n"


def _default(value: Any) -> str:
    return "not set by default" if value is None else f"default {toml_value(value)}"
