"""Who may ask what of the page: hosts, origins, the token, and limits of requests. The decisions are pure.

- A name in `Host` that is not known may lead here from anybody's page (DNS rebinding): it is refused. IP addresses cannot be
  rebound.
- A request that changes something must come from this page (`Sec-Fetch-Site`, else `Origin`); programs send neither.
- Where a token is set, everything but the form for it, style and scripts needs it: as a cookie, or in `Authorization`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dropscribe.web.program_errors import error_answer, for_program, is_openai

COOKIE = "dropscribe"
#: Longest wait for a client that takes nothing of an answer, or sends nothing of a request, seconds.
STALLED_S = 30.0
#: Largest body of a request, bytes.
MOST_BODY = 64 << 10
#: Where recordings are sent to.
UPLOAD = "/api/v1/upload"
TRANSCRIPTIONS = "/v1/audio/transcriptions"
#: Time after a wrong token, seconds.
WRONG_TOKEN_S = 0.5
#: Methods that change nothing.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
#: Addresses that need no token.
_OPEN = ("/login", "/static/")
#: Headers of every answer. Nothing is loaded from elsewhere, and no script or style stands in a page.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is refused: status, reason, remedy."""

    status: int
    reason: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Rules:
    """Names of this page, its token ("": none), and the largest recording that may be sent to it, bytes (0: none).

    `visitor_header`: in which a proxy names visitors, in lower case; "": none.
    """

    hosts: frozenset[str] = frozenset()
    token: str = ""
    upload_bytes: int = 0
    visitor_header: str = ""

    def most_body(self, method: str, path: str) -> int:
        """Largest body of a request, bytes."""
        if (method, path) == ("POST", TRANSCRIPTIONS):  # fields come with the recording
            return MOST_BODY + self.upload_bytes
        return max(MOST_BODY, self.upload_bytes) if (method, path) == ("PUT", UPLOAD) else MOST_BODY

    def is_host(self, host: str) -> bool:
        """True for a value of `Host` that leads here: an IP address, localhost, or a known name."""
        name = host_name(host)
        return name == "localhost" or name in self.hosts or _is_address(name)

    def visitor(self, headers: Mapping[str, str], address: str) -> str:
        """Who asks, for the history of actions: as the proxy names them, else their address; "" if there is none."""
        named = headers.get(self.visitor_header, "") if self.visitor_header else ""
        return named.strip() or address

    def session(self) -> str:
        """Value of the cookie of somebody who knows the token."""
        return hmac.new(self.token.encode(), b"dropscribe web session", hashlib.sha256).hexdigest()

    def is_token(self, given: str) -> bool:
        """True for the token."""
        return hmac.compare_digest(given.encode(), self.token.encode())

    def knows_token(self, cookies: Mapping[str, str], authorization: str) -> bool:
        """True if no token is needed, or the request shows it."""
        if not self.token:
            return True
        scheme, _, given = authorization.partition(" ")
        if scheme.lower() == "bearer" and self.is_token(given.strip()):
            return True
        return hmac.compare_digest(cookies.get(COOKIE, "").encode(), self.session().encode())


def host_name(host: str) -> str:
    """`Host` without its port, in lower case; "" if it is not valid."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_loopback(address: str) -> bool:
    """True for an address that only this machine reaches."""
    return address == "localhost" or (_is_address(address) and ipaddress.ip_address(address).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refusal_of(rules: Rules, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
    """Why a request is refused whoever sends it; None if it is not. `headers`: names in lower case."""
    host = headers.get("host", "")
    if not rules.is_host(host):
        return Refusal(400, "this name is not known here", "add it to [web] hosts, or use the IP address")
    if method not in _SAFE and not comes_from_here(headers):
        return Refusal(
            403, "the request comes from another page", "open this page itself and repeat it there"
        )
    most, length = rules.most_body(method, path), headers.get("content-length", "0")
    if not length.isdecimal() or len(length) > 18 or int(length) > most:
        return Refusal(
            413, f"this page takes {most / (1 << 20):g} MiB at most, and more was sent", "send less"
        )
    return None


def comes_from_here(headers: Mapping[str, str]) -> bool:
    """True for a request of this page, or of a program that is no browser."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


class Guard:
    """Refuse requests by the rules, limit time and size of the others, and set the headers of every answer."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            async with asyncio.timeout(STALLED_S):
                await send(message)

        refused = self._refused(scope)
        if refused is not None:
            await refused(scope, receive, sending)
            return
        received, most = 0, self._rules.most_body(scope["method"], scope["path"])
        done: list[bool] = []

        async def receiving() -> Message:
            nonlocal received
            if done:
                return await receive()  # waits for the end of the connection
            try:
                async with asyncio.timeout(STALLED_S):
                    message = await receive()
            except TimeoutError:
                return {"type": "http.disconnect"}
            received += len(message.get("body", b""))
            if received > most:
                return {"type": "http.disconnect"}
            if not message.get("more_body", False):
                done.append(True)
            return message

        with contextlib.suppress(ClientDisconnect, TimeoutError):  # nobody waits for the answer
            await self._app(scope, receiving, sending)

    def _refused(self, scope: Scope) -> Response | None:
        headers, path = Headers(scope=scope), scope["path"]
        refusal = refusal_of(self._rules, scope["method"], path, headers)
        if refusal is None and not path.startswith(_OPEN):
            cookies = cookie_parser(headers.get("cookie", ""))
            if not self._rules.knows_token(cookies, headers.get("authorization", "")):
                if not for_program(path) and scope["method"] in _SAFE and "hx-request" not in headers:
                    return RedirectResponse("/login", 303)
                refusal = Refusal(401, "the token is missing or wrong", "send Authorization: Bearer TOKEN")
        if refusal is None:
            return None
        if for_program(path):
            code = "invalid_api_key" if refusal.status == 401 and is_openai(path) else "refused"
            return error_answer(path, refusal.status, code, refusal.reason, refusal.remedy)
        return PlainTextResponse(f"{refusal.reason} ({refusal.remedy})\n", refusal.status)
