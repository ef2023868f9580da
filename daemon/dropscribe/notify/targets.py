"""One try of one message, by the settings of its target."""

from __future__ import annotations

from dropscribe.errors import ConfigError
from dropscribe.notify import apprise_services, program, webhook
from dropscribe.notify.credentials import keys_of, lines_of
from dropscribe.notify.payload import Content
from dropscribe.notify.schedule import Answer
from dropscribe.notify_settings import NotifySettings, check_address


def send(target: NotifySettings, uid: str, content: Content, now: float) -> Answer:
    """Send `content` once. Never raises: what is wrong with the settings of a target is an answer, too.

    Secrets are read each time, so that they can be exchanged while the sender runs.
    """
    try:
        if target.command is not None:
            return program.run(target.command, uid, content.body, target.timeout_s)
        if target.apprise_file is not None:
            return apprise_services.send(lines_of(target.apprise_file), content.title, content.lines)
        keys = keys_of(target.secret_files)
        return webhook.post(_url(target), uid, content.body, keys, now=now, timeout_s=target.timeout_s)
    except ConfigError as e:
        return Answer(accepted=False, reason=str(e))
    except Exception as e:
        # A third-party service must not end the sender. The text of an unknown error may hold an address.
        return Answer(accepted=False, reason=f"unexpected {type(e).__name__}")


def _url(target: NotifySettings) -> str:
    """Address of a webhook. Raises ConfigError, without the address."""
    if target.url is not None:
        return target.url
    assert target.url_file is not None
    url = lines_of(target.url_file)[0]
    try:
        check_address(url)
    except ValueError as e:
        reason, _, remedy = str(e).partition("; ")
        raise ConfigError(
            f"its first line is no usable address: {reason}",
            operation="read secrets",
            path=target.url_file,
            remedy=remedy,
        ) from None
    return url
