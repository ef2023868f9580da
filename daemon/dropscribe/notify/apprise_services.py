"""Send a message through Apprise: mail, chat programs and many others."""

from __future__ import annotations

from collections.abc import Sequence

from dropscribe.errors import ConfigError
from dropscribe.notify.schedule import Answer


def send(addresses: Sequence[str], title: str, lines: Sequence[str]) -> Answer:
    """One try, of all addresses. Raises ConfigError without Apprise, or for an address that it does not understand.

    Errors name the kind of a service only: its address holds its secrets.
    """
    try:
        import apprise  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as e:
        raise ConfigError(
            "Apprise is not installed",
            operation="send a notification",
            remedy="install it into dropscribe's environment: pip install 'dropscribe[notify]'",
        ) from e
    refused = []
    for number, address in enumerate(addresses, 1):
        kind = kind_of(address)
        service = apprise.Apprise()
        if not service.add(address):
            raise ConfigError(
                f"Apprise does not understand address {number} ({kind}:…)",
                operation="send a notification",
                remedy="see https://appriseit.com for the addresses of services",
            )
        if not service.notify(title=title, body="\n".join(lines), body_format=apprise.NotifyFormat.TEXT):
            refused.append(kind)
    if refused:
        return Answer(accepted=False, reason=f"not accepted by {', '.join(refused)}")
    return Answer(accepted=True)


def kind_of(address: str) -> str:
    """The part before ://, if there is one; "?" for what is no address and may be a secret by itself."""
    kind, separator, _ = address.partition("://")
    return kind if separator and kind.isalnum() else "?"
