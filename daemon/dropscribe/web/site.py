"""What all pages share: the open ledger, the settings, the templates, and the words of the reader's language."""

from __future__ import annotations

import contextlib
import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, StreamingResponse

from dropscribe import __version__, durations
from dropscribe.config import Settings
from dropscribe.errors import DropscribeError
from dropscribe.escapes import readable
from dropscribe.ledger.backend import open_read_only
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.views.jobs import outcome, state_since
from dropscribe.web.security import Rules
from dropscribe.web.sound.pool import SoundPool
from dropscribe.web.words import ENGLISH, language_of, translate

_VARIES = MappingProxyType({"Vary": "Accept-Language"})
#: What a template writes where the page so far is to be sent; it is not sent itself.
_FLUSH = Markup("<!-- -->")
#: Files of the page, by name, with their types.
_STATIC = MappingProxyType(
    {
        "style.css": "text/css; charset=utf-8",
        "page.js": "text/javascript; charset=utf-8",
        "upload.js": "text/javascript; charset=utf-8",
        "player.js": "text/javascript; charset=utf-8",
        "htmx.min.js": "text/javascript; charset=utf-8",
        "icon.svg": "image/svg+xml",
    }
)


@dataclass(frozen=True, slots=True)
class Static:
    """A file of the page; `version` changes with its content."""

    content: bytes
    kind: str
    version: str


class Site:
    """One page for one database. Thread-safe. Use as a context manager."""

    def __init__(self, location: DatabaseLocation, settings: Settings | None, rules: Rules) -> None:
        """`settings`: of the configuration; None if there is none."""
        self.location = location
        self.settings = settings
        self.rules = rules
        self.sounds = SoundPool()
        self.static: Mapping[str, Static] = {name: _static(name, kind) for name, kind in _STATIC.items()}
        #: Folders in which unfinished uploads were looked for.
        self.swept: set[Path] = set()
        self._making = threading.Lock()
        self._made: dict[str, tuple[float, dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._seen: tuple[object, ...] = ()
        self._templates = Environment(
            loader=PackageLoader("dropscribe.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.globals.update(
            version=__version__, asset=self._asset, moment=moment, second=second, iso=iso, length=durations.length, clock=durations.position,
            spent=durations.spent, speed=durations.speed, readable=readable, outcome=outcome, since=state_since,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sounds.close()
        with self._lock:
            self._close()

    @property
    def folders(self) -> tuple[Path, ...]:
        """The watched folders, as far as they are known."""
        return () if self.settings is None else tuple(f.path for f in self.settings.folders)

    def ledger(self) -> Ledger:
        """The open ledger, for queries. Raises DropscribeError if it cannot be used.

        It is opened anew when another file stands in its place, and when a daemon begins or ends to write into it: where
        this process may only read, a database that nobody writes is opened as one that does not change.
        """
        with self._lock:
            seen = self._identity()
            if self._ledger is None or seen != self._seen:
                self._close()
                self._ledger, self._seen = open_read_only(self.location), seen
            return self._ledger

    def recent(self, name: str, age_s: float, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """What `make` returned at most `age_s` seconds ago under this name, else what it returns now."""
        with self._making:
            at, made = self._made.get(name, (-math.inf, {}))
            if time.monotonic() - at > age_s:
                made = make()
                self._made[name] = time.monotonic(), made
            return dict(made)

    def forget(self) -> None:
        """Make everything anew that `recent` keeps."""
        with self._making:
            self._made.clear()

    def render(self, request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """An HTML page in the language of the reader."""
        page = b"".join(map(_encoded, self._pieces(request, template, values)))
        return HTMLResponse(page, status, _VARIES)

    def stream(self, request: Request, template: str, **values: Any) -> StreamingResponse:
        """The same, sent up to each `flush` of the template while the rest is made: readers see the beginning meanwhile."""
        parts = _parts(self._pieces(request, template, values))
        first = next(parts)  # an error in it is still answered by a page of its own
        return StreamingResponse(chain([first], parts), 200, _VARIES, "text/html; charset=utf-8")

    def _pieces(self, request: Request, template: str, values: Mapping[str, Any]) -> Iterator[str]:
        language = language_of(request.headers.get("accept-language", ""))

        def t(text: str, **parts: object) -> str:
            return translate(text, language, **parts)

        found = self._templates.get_template(template)
        # Reasons and remedies are English; a browser reads them aloud, divides and translates them by this.
        english = "" if language == ENGLISH else Markup(' lang="en"')
        return found.generate(
            t=t, language=language, english=english, here=request.url.path, with_upload=bool(self.rules.upload_bytes),
            flush=_FLUSH, **values,
        )  # fmt: skip

    def _identity(self) -> tuple[object, ...]:
        """The server; or device and inode of the database, and whether there is a log of what was written into it."""
        if self.location.server:
            return (self.location.server,)
        try:
            status = self.location.file.stat()
        except OSError:
            return ()
        return status.st_dev, status.st_ino, self.location.beside("-wal").exists()

    def _close(self) -> None:
        if self._ledger is not None:
            with contextlib.suppress(DropscribeError):
                self._ledger.close()
            self._ledger = None

    def _asset(self, name: str) -> str:
        return f"/static/{name}?v={self.static[name].version}"


def site_of(request: Request) -> Site:
    """The site that a request is for."""
    site: Site = request.app.state.site
    return site


def moment(instant: float | None) -> str:
    """An instant in the local time of this machine: `2026-11-29 14:05`; "" for None."""
    return (
        ""
        if instant is None
        else datetime.fromtimestamp(instant, UTC).astimezone().strftime("%Y-%m-%d %H:%M")
    )


def second(instant: float) -> str:
    """The same with seconds."""
    return f"{datetime.fromtimestamp(instant, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def iso(instant: float) -> str:
    """An instant as machines read it."""
    return datetime.fromtimestamp(instant, UTC).isoformat(timespec="seconds")


def _parts(pieces: Iterator[str]) -> Iterator[bytes]:
    """The text of a page, divided where the template has a `flush`."""
    held: list[str] = []
    for piece in pieces:
        if piece == _FLUSH:
            yield b"".join(map(_encoded, held))
            held = []
        else:
            held.append(piece)
    yield b"".join(map(_encoded, held))


def _encoded(text: str) -> bytes:
    # A lone surrogate, from a name that is not UTF-8, cannot be encoded.
    return text.encode("utf-8", "backslashreplace")


def _static(name: str, kind: str) -> Static:
    content = files("dropscribe.web").joinpath("static", name).read_bytes()
    return Static(content, kind, hashlib.sha256(content).hexdigest()[:12])
