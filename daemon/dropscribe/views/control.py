"""JSON documents of control: the answer to a command, and the history of actions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dropscribe.views.fields import utc

if TYPE_CHECKING:
    from dropscribe.ledger.control import Action


def control_document(answer: Mapping[str, Any]) -> dict[str, Any]:
    """dropscribe/control/1, of folders: verb, who, folder (null: all), found, found_who, found_since, made, still [{folder, who,
    since, draining}]; of jobs: verb, who, jobs [{job, recording, found, made, changed, reason}], totals [{found, made, changed,
    reason, jobs}]. Instants are ISO 8601, UTC.
    """
    document = dict(answer)
    if "found_since" in document:
        document["found_since"] = utc(document["found_since"])
        document["still"] = [pause | {"since": utc(pause["since"])} for pause in document["still"]]
    return document


def actions_document(actions: Iterable[Action]) -> list[dict[str, Any]]:
    """The history of actions: at, who, action, job, folder, found, made."""
    return [
        {
            "at": utc(a.at),
            "who": a.who,
            "action": a.verb,
            "job": a.job_id,
            "folder": a.folder,
            "found": a.found,
            "made": a.made,
        }
        for a in actions
    ]
