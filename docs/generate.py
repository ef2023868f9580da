"""Write the generated parts of the documentation: the settings, the command line, the formats of recordings,
examples of the formats of transcripts, and the error messages.

    python docs/generate.py            rewrite the pages of `PARTS`
    python docs/generate.py --check    exit with 1 if they are not current; change nothing

A generated part stands between two comments, `<!-- generated: NAME -->` and `<!-- end: NAME -->`. Its text comes from the
descriptions of the settings, the help of the commands, the table of formats and the errors in the source: to change it,
change these.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer
from pydantic.fields import FieldInfo

from dropscribe import formats
from dropscribe.cli.app import build
from dropscribe.cli.arguments.help_pages import called
from dropscribe.cli.commands.init import toml_value
from dropscribe.cli.manual.messages import SYSTEM_REASON, Message, messages
from dropscribe.cli.manual.settings_page import SECTIONS, fields
from dropscribe.settings_errors import type_text
from dropscribe.transcript.render import RENDERERS, Options, render_all
from dropscribe.transcript.types import EngineFacts, MediaFacts, Segment, Speaker, Tokens, Transcript

FOLDER = Path(__file__).resolve().parent
#: Width of the pages, characters.
COLUMNS = 118
#: A default with more entries than this stands below its setting.
LONG_LIST = 10


def settings() -> str:
    """Every setting: name, type and bounds, default, description."""
    parts: list[str] = []
    for heading, model in SECTIONS:
        parts.append(f"### {heading}\n")
        for name, field in fields(model):
            parts.append("\n".join(_setting(name, field)))
        parts.append("")
    return "\n".join(parts).strip()


def commands() -> str:
    """Every command: what it does, how it is called, its arguments and options."""
    root = typer.main.get_command(build())
    return "\n\n".join("\n".join(_command(name, c)) for name, c in below("", root) if name)


def format_list() -> str:
    """Formats of recordings with their extensions, and those without a decoder."""
    named = ", ".join(f"{f.name} ({_extensions(f)})" for f in formats.NAMED)
    lines = [line for f in formats.DECODED for line in _wrapped(f"- {f.name}: {_extensions(f)}", "  ")]
    lines = [line.removeprefix("  ") if line.startswith("  - ") else line for line in lines]
    note = "There is no decoder for these; such a recording fails with the reason and what to do"
    return "\n".join((*lines, "", *_wrapped(f"{note}: {named}.", "")))


def examples() -> str:
    """The same short conversation in each text format, with numbers in figures."""
    transcript = _conversation()
    files = render_all(transcript, RENDERERS, Options(numbers="written"))
    shown_whole = [name for name in RENDERERS if name not in {"html", "docx", "json"}]
    parts = [f"## `{name}`\n\n```text\n{files[name].decode().rstrip()}\n```" for name in shown_whole]
    document = json.loads(files["json"])
    shown = {key: document[key] for key in ("text", "raw", "speakers", "sentences")}
    parts.append(
        "## `json`\n\nSome of its fields; all of them: [`dropscribe/transcript/1`](outputs.md#dropscribetranscript1).\n\n"
        f"```json\n{json.dumps(shown, indent=1, ensure_ascii=False)}\n```"
    )
    return "\n\n".join(parts)


def errors() -> str:
    """Every error message with what to do, by area."""
    parts = []
    for heading, those in messages().items():
        lines = [line for m in those for line in _message(m)]
        parts.append("\n".join([f"### {heading}", "", *lines]))
    return "\n\n".join(parts)


def _message(message: Message) -> list[str]:
    operation = f" ({message.operation})" if message.operation else ""
    reason = f"*{SYSTEM_REASON}*" if message.reason == SYSTEM_REASON else _code(message.reason)
    first, *more = _wrapped(f"{reason}{operation}: {_plain(message.remedy)}", "  ")
    return [f"- {first.lstrip()}", *more]


def _code(text: str) -> str:
    """Text that Markdown shows as it is, also with backquotes in it."""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _conversation() -> Transcript:
    """A conversation of two people, one of them known by name."""
    said = (
        (1, 400, "您好请问有什么可以帮您", {1: 1, 10: 3}),
        (2, 3100, "我想问一下上个月的账单好像多扣了五十块钱", {10: 1, 19: 2}),
        (1, 8200, "好的我帮您查一下", {1: 1, 7: 2}),
    )
    segments = []
    for index, (speaker, start_ms, text, marks) in enumerate(said):
        bounds = [start_ms + 200 * i for i in range(len(text) + 1)]
        segments.append(
            Segment(
                index, start_ms, bounds[-1], text, Tokens(text, bounds[:-1], bounds[1:]),
                bytes(marks.get(i, 0) for i in range(len(text))), bytes([speaker]) * len(text),
            )
        )  # fmt: skip
    return Transcript(
        recording_name="call.wav", sha256="0" * 64, job_id=1, created_at=0.0,
        media=MediaFacts(10_000, "wav", "pcm_s16le", 16_000, 1, "soundfile"),
        engine=EngineFacts((("asr", "paraformer-zh"), ("vad", "fsmn-vad")), "cpu", "fp32", (), None, 0.0),
        segments=tuple(segments), speakers=(Speaker(1, "王芳"), Speaker(2, None)),
    )  # fmt: skip


def _extensions(one: formats.Format) -> str:
    return " ".join(f"`{e}`" for e in one.extensions)


def below(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """("jobs show", its click command) of a command and those in it."""
    yield name, command
    for part, inner in getattr(command, "commands", {}).items():
        yield from below(f"{name} {part}".strip(), inner)


def _setting(name: str, field: FieldInfo) -> Iterator[str]:
    default = "required" if field.is_required() else _default(field.default)
    kind = type_text(field.annotation, field.metadata, "`")
    first, *more = _wrapped(f"**`{name}`** ({kind}; {default}): {_plain(field.description or '')}", "  ")
    yield f"- {first.lstrip()}"
    yield from more
    if isinstance(field.default, tuple) and len(field.default) > LONG_LIST:
        yield from _wrapped("By default: " + ", ".join(f"`{v}`" for v in field.default) + ".", "  ")


def _default(value: Any) -> str:
    if value is None:
        return "not set by default"
    if isinstance(value, tuple) and len(value) > LONG_LIST:
        return "default: see below"
    return f"default `{toml_value(value)}`"


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"### `dropscribe {name}`"
    yield ""
    texts = [command.help or ""]
    described = inspect.getdoc(command.callback) or ""
    if hasattr(command, "commands") and described not in texts:
        # A group with commands of its own that also does something without one.
        texts.append(described)
    text = "\n\n".join(inspect.cleandoc(t) for t in texts)
    for paragraph in text.split("\n\n"):
        # The fields of the documents stand in outputs.md.
        kept = _plain(re.sub(r"\s*\bJSON, dropscribe/.*", "", paragraph, flags=re.DOTALL))
        if kept:
            yield from _wrapped(kept, "")
            yield ""
    schemas = dict.fromkeys(re.findall(r"\bdropscribe/([a-z]+)/(\d+)", text))
    if schemas:
        links = [f"[`dropscribe/{n}/{v}`](outputs.md#dropscribe{n}{v})" for n, v in schemas]
        yield f"JSON: {links[0]}" + ("," if links[1:] else "")
        for i, link in enumerate(links[1:], 2):
            yield link + ("," if i < len(links) else "")
        yield ""
    arguments = [p for p in command.params if not _is_option(p)]
    named = [called(p) if p.required else f"[{called(p)}]" for p in arguments]
    inner = ["COMMAND"] if hasattr(command, "commands") else []
    yield f"Usage: `{' '.join(['dropscribe', name, '[OPTIONS]', *named, *inner])}`"
    yield ""
    for parameter in command.params:
        if parameter.name != "help":
            first, *more = _wrapped(f"{_called(parameter)}: {_plain(parameter.help or '')}", "  ")
            yield f"- {first.lstrip()}"
            yield from more


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _called(parameter: Any) -> str:
    """How an argument or option is written, and its default where it has one."""
    shown = isinstance(parameter.default, (int, str, Path)) and not isinstance(parameter.default, bool)
    return f"`{called(parameter)}`" + (f" (default: `{parameter.default}`)" if shown else "")


def _plain(text: str) -> str:
    """Help text as Markdown shows it unchanged."""
    return re.sub(r"([*<>])", r"\\\1", " ".join(text.split()))


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(
        text,
        COLUMNS,
        initial_indent=indent,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


#: Page → (name of the part, the function that writes it).
PARTS: dict[str, tuple[str, Callable[[], str]]] = {
    "configuration.md": ("settings", settings),
    "command-line.md": ("commands", commands),
    "recordings.md": ("formats", format_list),
    "formats.md": ("examples", examples),
    "troubleshooting.md": ("messages", errors),
}


def page(name: str) -> str:
    """A page of `PARTS` with its generated part as it should be."""
    part, write = PARTS[name]
    text = (FOLDER / name).read_text(encoding="utf-8")
    start, end = f"<!-- generated: {part} -->", f"<!-- end: {part} -->"
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"docs/{name} has no part between '{start}' and '{end}'")
    return f"{before}{start}\n\n{write()}\n\n{end}{after}"


def main() -> None:
    stale = [name for name in PARTS if page(name) != (FOLDER / name).read_text(encoding="utf-8")]
    if "--check" in sys.argv[1:]:
        if stale:
            raise SystemExit(f"not current: {', '.join(stale)}; run docs/generate.py")
        return
    for name in stale:
        (FOLDER / name).write_text(page(name), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
