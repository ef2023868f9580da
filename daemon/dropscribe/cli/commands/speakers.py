"""`dropscribe speakers`: known voices, by which the speakers of recordings get their names."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropscribe.cli.arguments import options

if TYPE_CHECKING:
    from dropscribe.config import Settings
    from dropscribe.ledger.interface import DatabaseLocation, Ledger
    from dropscribe.ledger.records import EnrolledVoice
    from dropscribe.pipeline.assembly import Result

SPEAKERS_SCHEMA = "dropscribe/speakers/1"
#: Least speech of a person, seconds, from which a voice is made.
LEAST_SPEECH_S = 5.0
#: Share of the words up to which a second voice in a recording is taken for an error.
LEAST_SECOND_SHARE = 0.1

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print dropscribe/speakers/1 as JSON.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the person, as transcripts have it.")]


@dataclass(frozen=True, slots=True)
class _Sample:
    """The voice in one recording."""

    path: Path
    embedding: bytes
    speech_s: float


@app.callback()
def group() -> None:
    """Name the speakers of recordings by their voices.

    A voice is stored in the database as 192 numbers, made by the speaker model: no recording, no text. They are biometric
    data all the same: enrol people who agreed. With speakers = "auto" or a number in a profile, a speaker whose voice is
    like an enrolled one gets its name in the transcripts that are made from then on.

    JSON, dropscribe/speakers/1 (--json of each subcommand): database, speakers [{name, model, enrolled}]. Instants are ISO
    8601, UTC.
    """


@app.command("enrol")
def enrol(
    name: Name,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", readable=False, help="Recordings of this person alone, 30 s or more."),
    ],
    config: options.Config = None,
    database: options.Database = None,
    device: options.Device = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Store a person's voice, from recordings in which nobody else speaks.

    Replaces an earlier voice of that name. The recordings are not kept. May be run beside the daemon.
    """
    from dropscribe import logs
    from dropscribe.cli.arguments.recordings import demand_files
    from dropscribe.cli.arguments.settings import database_location, in_force
    from dropscribe.cli.output import say
    from dropscribe.errors import UsageError
    from dropscribe.service.control.corrections import name_of_person
    from dropscribe.transcript.known_voices import mean_voice

    name = name_of_person(name, "enrol a voice")
    demand_files(files, "enrol a voice")
    logs.setup(json_lines=False)
    settings = in_force(config=config, database=database, device=device).settings
    location = database_location(config, database)
    samples = _samples(settings, [f.absolute() for f in files])
    speech_s = sum(s.speech_s for s in samples)
    if speech_s < LEAST_SPEECH_S:
        raise UsageError(
            f"{speech_s:.1f} s of speech are too little",
            operation="enrol a voice",
            remedy=f"give recordings with {LEAST_SPEECH_S:.0f} s or more, better 30 s",
        )
    voice = mean_voice([s.embedding for s in samples], [s.speech_s for s in samples])
    model = settings.model_set(_for_voices(settings).profile("default")).speakers
    with closing(_open(location)) as ledger:
        ledger.enrol_voice(name, model, voice, time.time())
        _print(location, ledger.enrolled_voices(), as_json=as_json)
    if not as_json:
        say(f"{name}: enrolled from {speech_s:.0f} s of speech", err=True)


@app.command("list")
def list_speakers(
    config: options.Config = None, database: options.Database = None, *, as_json: AsJson = False
) -> None:
    """List the enrolled voices."""
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.ledger.backend import open_read_only

    location = database_location(config, database)
    with closing(open_read_only(location)) as ledger:
        _print(location, ledger.enrolled_voices(), as_json=as_json)


@app.command("remove")
def remove(
    name: Name, config: options.Config = None, database: options.Database = None, *, as_json: AsJson = False
) -> None:
    """Delete a person's voice.

    Transcripts that have the name already keep it. May be run beside the daemon.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.errors import UsageError
    from dropscribe.ledger.backend import open_beside
    from dropscribe.service.control.corrections import name_of_person

    name = name_of_person(name, "remove a voice")
    location = database_location(config, database)
    with closing(open_beside(location)) as ledger:
        if not ledger.remove_voice(name):
            raise UsageError(
                f"there is no voice of {name}",
                operation="remove a voice",
                remedy="'dropscribe speakers list' shows the names",
            )
        _print(location, ledger.enrolled_voices(), as_json=as_json)


def _open(location: DatabaseLocation) -> Ledger:
    """The database, created if there is none yet."""
    from dropscribe.ledger import backend

    if backend.is_empty(location):
        with closing(backend.lock_database(location)):
            backend.open_ledger(location).close()
    return backend.open_beside(location)


def _samples(settings: Settings, paths: Sequence[Path]) -> list[_Sample]:
    """The voice in each recording. Raises UsageError for a recording that has none, or several."""
    from dropscribe.errors import DropscribeError, UsageError
    from dropscribe.pipeline.oneshot import OneShot
    from dropscribe.pipeline.problem import Problem
    from dropscribe.transcript.known_voices import alike

    found: list[_Sample] = []
    with OneShot(_for_voices(settings)) as engine:
        for finished in engine.transcribe(list(paths), lambda *_: None):
            if isinstance(finished.end, Problem):
                raise DropscribeError(
                    finished.end.reason,
                    operation="enrol a voice",
                    path=finished.path,
                    remedy=finished.end.remedy,
                )
            found.append(_Sample(finished.path, *_voice(finished.path, finished.end)))
    for sample in found[1:]:
        if not alike(found[0].embedding, sample.embedding):
            raise UsageError(
                f"it has another voice than {found[0].path.name}",
                operation="enrol a voice",
                path=sample.path,
                remedy="give recordings of one person",
            )
    return found


def _for_voices(settings: Settings) -> Settings:
    """The settings with speakers told apart under the default profile, and no marks written."""
    profile = settings.profile("default").model_copy(update={"speakers": "auto", "punctuation": "off"})
    return settings.model_copy(update={"profiles": {**settings.profiles, "default": profile}})


def _voice(path: Path, result: Result) -> tuple[bytes, float]:
    """Embedding and speech, seconds, of the one person in a recording."""
    from dropscribe.errors import UsageError

    words = Counter(number for segment in result.segments for number in segment.speakers)
    order = [number for number, _ in words.most_common()]
    voices = {speaker.number: speaker.embedding for speaker in result.speakers}
    if not order or not voices.get(order[0]):
        reason = "; ".join(result.remarks) or "no speech was recognised in it"
        raise UsageError(
            reason, operation="enrol a voice", path=path, remedy="give a clear recording of this person"
        )
    if len(order) > 1 and words[order[1]] > LEAST_SECOND_SHARE * words.total():
        raise UsageError(
            f"{len(order)} people speak in it",
            operation="enrol a voice",
            path=path,
            remedy="give recordings in which only this person speaks",
        )
    return voices[order[0]], result.timings.speech_ms / 1000


def _print(location: DatabaseLocation, voices: Sequence[EnrolledVoice], *, as_json: bool) -> None:
    from dropscribe.cli.output import local, print_json, print_table, say
    from dropscribe.escapes import one_line

    if as_json:
        print_json(document(location, voices))
    elif voices:
        rows = [(one_line(v.name), v.model, local(v.made_at)) for v in voices]
        print_table(("name", "model", "enrolled"), rows)
    else:
        say("no voices are enrolled")


def document(location: DatabaseLocation, voices: Sequence[EnrolledVoice]) -> dict[str, Any]:
    """dropscribe/speakers/1, as described at `group`."""
    from dropscribe.transcript.instants import iso

    return {
        "schema": SPEAKERS_SCHEMA,
        "database": location.name,
        "speakers": [{"name": v.name, "model": v.model, "enrolled": iso(v.made_at)} for v in voices],
    }
