"""Signatures of Standard Webhooks, version 1 (https://github.com/standard-webhooks/standard-webhooks)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"
#: Least and most bytes of a secret.
LEAST_BYTES, MOST_BYTES = 24, 64


def parse_secret(text: str) -> bytes:
    """The key in a secret as it is written: `whsec_` and base64. Raises ValueError, without the secret in its text."""
    try:
        key = base64.b64decode(text.removeprefix(PREFIX).encode(), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("it is not base64") from None
    if not LEAST_BYTES <= len(key) <= MOST_BYTES:
        raise ValueError(f"it has {len(key)} bytes; {LEAST_BYTES} to {MOST_BYTES} are possible")
    return key


def headers(uid: str, at: float, body: bytes, keys: Sequence[bytes]) -> dict[str, str]:
    """Headers of one try at `at`, epoch seconds: a signature by each key, so that receivers may know any of them."""
    stamp = str(int(at))
    signed = b".".join((uid.encode(), stamp.encode(), body))
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": uid,
        "webhook-timestamp": stamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
