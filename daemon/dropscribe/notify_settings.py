"""Settings of notifications: the `[[notify]]` sections. Used by `daemon/dropscribe/settings.py`."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

#: Kinds of events; equal to `dropscribe.ledger.events.EventKind`, by test.
EventName = Literal["done", "failed", "held", "backlog", "disk", "engine"]
#: The fields of which a section has one: where its messages go.
WAYS = ("url", "url_file", "apprise_file", "command")


class NotifySettings(BaseModel):
    """A target of notifications, sent by dropscribe-notify; the section may be repeated."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(
        description="Name of this target in lists and logs.", pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"
    )
    url: str | None = Field(
        None, description="Webhook: events are posted to this address, signed (Standard Webhooks)."
    )
    url_file: Path | None = Field(
        None, description="The same, in a file: for an address that is itself a secret."
    )
    secret_files: tuple[Path, ...] = Field(
        (),
        description="Secrets that sign the webhook (whsec_…), one a line. Several while they are exchanged: each signs. A systemd "
        "credential of the same name takes the place of a file, here and in url_file and apprise_file.",
    )
    apprise_file: Path | None = Field(
        None,
        description="Instead of a webhook: a file with addresses of Apprise, one a line (mail, DingTalk, WeCom, Feishu, …). Needs the "
        "extra dropscribe[notify].",
    )
    command: tuple[str, ...] | None = Field(
        None,
        description="Instead of a webhook: a program and its arguments, run without a shell. It reads the event as JSON from "
        "standard input, and ends with 0 if it is done with it.",
        min_length=1,
    )
    events: tuple[EventName, ...] = Field(
        ("failed", "held", "backlog", "disk", "engine"),
        description="What is told: done, failed (a recording); held (recordings of a folder wait for something outside); backlog (the oldest "
        "waits longer than service.backlog_s); disk (too little free space); engine (one was replaced).",
        min_length=1,
    )
    folders: tuple[Path, ...] = Field((), description="Only recordings of these watched folders. Empty: all.")
    profiles: tuple[str, ...] = Field((), description="Only recordings under these profiles. Empty: all.")
    text: bool = Field(
        False,
        description="Send the text of the transcript, too, as far as it fits. Otherwise no word of it is sent.",
    )
    digest_s: float = Field(
        0.0,
        ge=0,
        le=604_800,
        description="Collect events for so long, and send them as one message: 3600 for one an hour, 86400 for one a day. 0: each at once.",
    )
    timeout_s: float = Field(
        20.0,
        ge=1,
        le=3600,
        description="Longest time for one try of a webhook or a program, seconds. Apprise has limits of its own.",
    )
    tries: int = Field(
        10, ge=1, le=10, description="Tries before a message has failed; ten take some three days."
    )

    @field_validator("url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None:
            check_address(value)
        return value

    @field_validator("folders")
    @classmethod
    def _normal(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        return tuple(Path(os.path.normpath(v)) for v in value)

    @model_validator(mode="after")
    def _one_way(self) -> NotifySettings:
        given = [way for way in WAYS if getattr(self, way) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none of them"
            raise ValueError(
                f"target '{self.name}' has {found}; write one of url, url_file, apprise_file and command"
            )
        if given[0] in {"url", "url_file"} and not self.secret_files:
            raise ValueError(
                f"target '{self.name}' has no secret_files; its receiver could not tell its messages from others"
            )
        return self


def check_address(address: str) -> None:
    """Raise ValueError, without the address in its text, unless a webhook can be posted to it."""
    if any(c.isspace() or not c.isprintable() for c in address):
        raise ValueError("it holds a blank or a control character; write nothing but the address")
    if not address.isascii():
        raise ValueError(
            "it holds characters that are not ASCII; write them percent-encoded, a host as xn--…"
        )
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018 - raises ValueError, whose text holds a part of the address
    except ValueError:
        raise ValueError("it is no address of a web server; write https://HOST:PORT/…") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("it is no address of a web server; write https://…")
    if parts.username is not None:
        raise ValueError(
            "it holds a user or password, which is not sent; remove it: the signature of secret_files tells the receiver "
            "whose messages these are"
        )


def check_targets(
    targets: Sequence[NotifySettings], profiles: Collection[str], folders: Collection[Path]
) -> None:
    """Raise ValueError if two targets have one name, or one names a profile or folder that is not defined."""
    names = [target.name for target in targets]
    for target in targets:
        if names.count(target.name) > 1:
            raise ValueError(f"two [[notify]] sections have the name '{target.name}'; give one another")
        for profile in target.profiles:
            if profile not in profiles:
                raise ValueError(f"target '{target.name}' names profile '{profile}', which is not defined")
        for folder in target.folders:
            if folder not in folders:
                raise ValueError(f"target '{target.name}' names folder {folder}, which is not watched")
