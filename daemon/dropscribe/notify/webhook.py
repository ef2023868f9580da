"""Post a message to a webhook (Standard Webhooks)."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from collections.abc import Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from dropscribe import __version__
from dropscribe.escapes import one_line
from dropscribe.notify import signing
from dropscribe.notify.schedule import Answer

#: Most bytes of an answer that are read, so that the connection ends well; its content means nothing.
_READ_BYTES = 4096


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect for an answer: what is sent was meant for the address in the settings."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


_OPENER = urllib.request.build_opener(_NoRedirects)


def post(url: str, uid: str, body: bytes, keys: Sequence[bytes], *, now: float, timeout_s: float) -> Answer:
    """Send one try to an address that `check_address` accepts. Answers name no part of it but its host: the rest may be a
    secret.
    """
    host = urlsplit(url).hostname
    request = urllib.request.Request(  # noqa: S310 - the settings allow http and https only
        url,
        data=body,
        method="POST",
        headers={
            "content-type": "application/json",
            "user-agent": f"dropscribe/{__version__}",
            **signing.headers(uid, now, body, keys),
        },
    )
    try:
        with _OPENER.open(request, timeout=timeout_s) as answer:
            answer.read(_READ_BYTES)
            return _judge(answer.status, answer.headers, now)
    except urllib.error.HTTPError as e:
        with e:
            return _judge(e.code, e.headers, now)
    except urllib.error.URLError as e:
        return Answer(accepted=False, reason=f"{host}: {_plain(e.reason)}")
    except OSError as e:
        return Answer(accepted=False, reason=f"{host}: {_plain(e)}")
    except (http.client.HTTPException, ValueError) as e:
        # Their texts hold parts of the address, or of what the server wrote.
        return Answer(accepted=False, reason=f"{host}: unexpected {type(e).__name__}")


def _judge(status: int, headers: Any, now: float) -> Answer:
    if 200 <= status < 300:
        return Answer(accepted=True)
    name = http.client.responses.get(status, "")
    reason = f"it answered {status} {name}".rstrip()
    if 300 <= status < 400:
        reason += "; redirects are not followed: set the address that it leads to"
    return Answer(
        accepted=False,
        reason=reason,
        retry_after_s=retry_after(headers.get("retry-after"), now),
        gone=status == 410,
    )


def retry_after(value: str | None, now: float) -> float | None:
    """Seconds that a Retry-After header asks for: a number, or a date (RFC 9110, section 10.2.3). None: it says nothing."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None


def _plain(error: object) -> str:
    """An error without the type names that Python prints."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return one_line(str(text))
