"""`dropscribe notify`: send notifications, try their targets, list them and send them again."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.config import Loaded
    from dropscribe.ledger.outbox import MessageSummary
    from dropscribe.notify_settings import NotifySettings

NOTIFICATIONS_SCHEMA = "dropscribe/notifications/1"

app = typer.Typer()

Target = Annotated[
    str | None, typer.Option("--target", metavar="NAME", help="Only messages for this target.")
]


@app.callback()
def group() -> None:
    """Tell people and programs of transcripts and problems.

    The daemon has no access to the network: it writes each event into its database, and the service dropscribe-notify sends it
    to the targets of the configuration ([[notify]]).

    JSON, dropscribe/notifications/1 (list --json): database, targets [{name, pending, failed, oldest_due, disabled (why, or null)}],
    events [{id, message, target, event, job (null if it concerns none), state ("pending", "sent", "failed"), at, due, tries, ended,
    error}]. Instants are ISO 8601, UTC.
    """


@app.command("run")
def run(
    config: options.Config = None,
    database: options.Database = None,
    *,
    once: Annotated[bool, typer.Option("--once", help="Send what is due, then end.")] = False,
) -> None:
    """Send notifications until stopped.

    The service dropscribe-notify runs this. With --once the exit status is 1 if messages are left, such as those of a target that is away.
    """
    from dropscribe import logs
    from dropscribe.errors import ConfigError
    from dropscribe.ledger.backend import location_of
    from dropscribe.notify.serve import serve

    loaded = _loaded(config, database)
    targets = _targets(loaded)
    if not targets:
        raise ConfigError(
            "there is nobody to notify",
            operation="send notifications",
            path=loaded.file,
            remedy="add a [[notify]] section to the configuration",
        )
    service = loaded.settings.service
    logs.setup(
        json_lines={"auto": None, "json": True, "text": False}[service.log_format], level=service.log_level
    )
    if serve(location_of(loaded.settings), targets, once=once):
        raise typer.Exit(1)


@app.command("test")
def try_targets(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Targets to try. Default: all of them.")
    ] = None,
    config: options.Config = None,
) -> None:
    """Send a test message to targets, and print what they answered.

    It is sent now and once. Needs no database and no daemon. Exit status 1 if one did not accept it.
    """
    from dropscribe.cli.output import say
    from dropscribe.errors import UsageError
    from dropscribe.ledger.outbox import new_uid
    from dropscribe.notify import targets as ways
    from dropscribe.notify.payload import trial_content

    loaded = _loaded(config, None)
    targets = _targets(loaded)
    for name in names or ():
        if name not in targets:
            known = ", ".join(targets) or "none"
            raise UsageError(
                f"there is no target '{name}'",
                operation="send a test message",
                path=loaded.file,
                remedy=f"name one of: {known}",
            )
    refused = False
    now = time.time()
    for name in names or targets:
        answer = ways.send(targets[name], new_uid(), trial_content(now), now)
        say(f"{name}: {'accepted' if answer.accepted else answer.reason}")
        refused |= not answer.accepted
    if refused:
        raise typer.Exit(1)
    if not targets:
        say("there are no targets: add a [[notify]] section to the configuration")


@app.command("list")
def list_messages(
    config: options.Config = None,
    database: options.Database = None,
    target: Target = None,
    limit: Annotated[int, typer.Option("--limit", metavar="NUMBER", min=1, help="Most events listed.")] = 50,
    *,
    sent: Annotated[bool, typer.Option("--sent", help="Also those that were sent, for a week.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print dropscribe/notifications/1 as JSON.")
    ] = False,
) -> None:
    """List notifications that wait or could not be sent, the newest first."""
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import moment, print_json, print_list, say
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.ledger.outbox import MessageState, TargetCounts
    from dropscribe.views.fields import utc

    location = database_location(config, database)
    states = [MessageState.PENDING, MessageState.FAILED, *([MessageState.SENT] if sent else [])]
    with closing(open_read_only(location)) as ledger:
        outbox = ledger.outbox
        found = outbox.messages(states=states, target=target, limit=limit)
        counts, disabled = outbox.counts(), outbox.disabled()
    if as_json:
        named = sorted(counts.keys() | disabled.keys())
        totals = [(name, counts.get(name, TargetCounts(0, 0, None))) for name in named]
        print_json(
            {
                "schema": NOTIFICATIONS_SCHEMA,
                "database": location.name,
                "targets": [
                    {
                        "name": name,
                        "pending": c.pending,
                        "failed": c.failed,
                        "oldest_due": utc(c.oldest_due_at),
                        "disabled": disabled.get(name),
                    }
                    for name, c in totals
                ],
                "events": [_document(m) for m in found],
            }
        )
        return
    now = time.time()
    if found:
        rows = [
            (str(m.id), m.target, _what(m), m.state.value, moment(m.at, now), str(m.tries), m.error or "")
            for m in found
        ]
        print_list(("id", "target", "event", "state", "at", "tries", "last error"), rows)
    else:
        say("nothing waits" if target is None else f"nothing waits for {target}")
    for name, reason in disabled.items():
        say(f"{name} is disabled: {reason} ('dropscribe notify retry --target {name}' enables it)", err=True)


@app.command("retry")
def retry(
    ids: Annotated[
        list[int] | None, typer.Argument(metavar="ID", help="Numbers of failed events, as 'list' shows them.")
    ] = None,
    config: options.Config = None,
    database: options.Database = None,
    target: Annotated[
        str | None, typer.Option("--target", metavar="NAME", help="All failed ones of this target.")
    ] = None,
    *,
    everything: Annotated[bool, typer.Option("--all", help="All failed ones.")] = False,
) -> None:
    """Send failed notifications again, and enable their targets. Their messages keep their identity."""
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import say
    from dropscribe.errors import UsageError
    from dropscribe.ledger.backend import open_beside

    if sum((bool(ids), target is not None, everything)) != 1:
        raise UsageError(
            "it is not clear which notifications are meant",
            operation="retry notifications",
            remedy="give numbers, or --target NAME, or --all",
        )
    location = database_location(config, database)
    with closing(open_beside(location)) as ledger:
        count = ledger.outbox.retry(time.time(), target=target, ids=tuple(ids or ()))
    say(f"{count} {'notification is' if count == 1 else 'notifications are'} sent again")


def _loaded(config: Path | None, database: Path | None) -> Loaded:
    from dropscribe.cli.arguments.settings import in_force

    return in_force(config=config, database=database, lists=False)


def _targets(loaded: Loaded) -> dict[str, NotifySettings]:
    return {target.name: target for target in loaded.settings.notify}


def _what(message: MessageSummary) -> str:
    return message.kind.value + ("" if message.job_id is None else f" job {message.job_id}")


def _document(message: MessageSummary) -> dict[str, Any]:
    from dropscribe.views.fields import utc

    return {
        "id": message.id,
        "message": message.uid,
        "target": message.target,
        "event": message.kind.value,
        "job": message.job_id,
        "state": message.state.value,
        "at": utc(message.at),
        "due": utc(message.due_at),
        "tries": message.tries,
        "ended": utc(message.ended_at),
        "error": message.error,
    }
