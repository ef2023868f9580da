"""`dropscribe jobs`: list jobs, show one in full, search all transcripts, list skipped files."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Annotated

import typer

from dropscribe.cli.arguments import filters, options
from dropscribe.cli.arguments.given import Given, merged
from dropscribe.cli.arguments.jobs import no_such_job
from dropscribe.cli.commands.control import of_jobs
from dropscribe.cli.commands.history import jobs_again

if TYPE_CHECKING:
    from dropscribe.ledger.control import Action
    from dropscribe.ledger.records import Hit, JobDetail, JobSummary
    from dropscribe.transcript.types import Timings
    from dropscribe.views.jobs import Progress
    from dropscribe.views.waiting import FolderWait

#: Longest bar of a stage, columns.
_STAGE_BAR = 30

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.callback(invoke_without_command=True)
def list_jobs(
    context: typer.Context,
    state: filters.State = None,
    folder: filters.Folder = None,
    profile: filters.Profile = None,
    since: filters.Since = None,
    until: filters.Until = None,
    path: filters.PathPart = None,
    text: filters.Words = None,
    speaker: filters.Speaker = None,
    at_least: filters.AtLeast = None,
    at_most: filters.AtMost = None,
    reason: filters.Reason = None,
    host: filters.Host = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Number of jobs to list, newest first.")
    ] = 50,
    after: Annotated[
        str | None,
        typer.Option(
            metavar="POSITION",
            help="List what follows; the position is printed below each list that goes on.",
        ),
    ] = None,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show the job history.

    Without COMMAND it lists jobs, the newest first. Of several conditions all must be met.

    JSON, dropscribe/jobs/1: database, jobs [{id, state, recording, folder, profile, admitted, claimed, finished,
    attempts, max_attempts, audio_s, speech_s, characters, total_s, rtfx, model, device, truncated, remarks, reason_code,
    reason, remedy, reference, version, supersedes, priority, host, waits_for {folder, code, reason, until}}], next (the --after of the jobs that
    follow, or null). Instants are ISO 8601, UTC; what is not known is null.
    """
    if context.invoked_subcommand is not None:
        context.obj = Given(config, database, as_json)
        return
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json, say
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.ledger.questions import JobFilter
    from dropscribe.views.jobs import jobs_document
    from dropscribe.views.status import jobs_in_progress, said_by
    from dropscribe.views.waiting import folder_waits

    wanted = filters.job_filter(
        "list jobs", time.time(), state=state, folder=folder, profile=profile, since=since, until=until, path=path,
        text=text, speaker=speaker, at_least=at_least, at_most=at_most, reason=reason, host=host,
    )  # fmt: skip
    position = None if after is None else filters.cursor(after)
    location = database_location(config, database)
    with closing(open_read_only(location)) as ledger:
        page = ledger.find_jobs(wanted, limit=limit, after=position)
        pauses = ledger.pauses()
    said = said_by(location)
    running, waits = jobs_in_progress(said), folder_waits(said, pauses)
    if as_json:
        print_json(jobs_document(location, page, running, waits))
    elif not page.jobs:
        say("no jobs" if wanted == JobFilter() else "no such jobs")
    else:
        _print_jobs(page.jobs, running, waits)
        if page.next is not None:
            say(f"more: --after {page.next}", err=True)


@app.command("show")
def show(
    context: typer.Context,
    job: Annotated[int, typer.Argument(metavar="ID", help="Number of the job.")],
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Show one job in full: what happened when, files, text.

    JSON, dropscribe/job/1: job {the fields of a listed job, and recipe, sha256, size, modified, isolate, kept
    {text_removed, logs_removed, files_removed, purged, departure, departed, departed_to}, tries
    [{number, worker, started, ended, outcome, code, reason, times}], outputs [{format, path, sha256, published}], stages
    {stage: seconds}, batches {sizes, padding_waste}, media, engine, text, segments [{index, start_ms, end_ms, text}], actions
    [{at, who, action, job, folder, found, made}], versions [{job, version, state, supersedes, admitted, profile}], timeline
    [{at, kind, text}]}.
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.views.jobs import show_document
    from dropscribe.views.status import jobs_in_progress, said_by
    from dropscribe.views.waiting import folder_waits, waits_for

    given = merged(context, config, database, as_json)
    location = database_location(given.config, given.database)
    with closing(open_read_only(location)) as ledger:
        detail = ledger.job(job)
        pauses, actions = ledger.pauses(), ledger.actions(job_id=job)
    if detail is None:
        raise no_such_job(job, "show a job", location)
    said = said_by(location)
    progress = jobs_in_progress(said).get(job)
    wait = waits_for(detail.summary, folder_waits(said, pauses))
    if given.as_json:
        print_json(show_document(detail, progress, wait, actions))
    else:
        _print_job(detail, progress, wait, actions)


@app.command("search")
def search(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="WORD...", help="All of these within a minute; words in quotes one after the other."
        ),
    ],
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Number of recordings to list, newest first.")
    ] = 20,
    places: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Number of places to list of each, earliest first.")
    ] = 5,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Find words in all transcripts, and when they were said.

    Upper and lower case are the same.

    JSON, dropscribe/search/1: query, hits [{job, recording, finished, segment, start_ms, end_ms, at_ms, snippet, match
    [first, last), matches [{first, last, start_ms, end_ms}], copies [{job, recording}], more}].
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import print_json, say
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.views.jobs import search_document

    given = merged(context, config, database, as_json)
    query = " ".join(map(_quoted, words))
    with closing(open_read_only(database_location(given.config, given.database))) as ledger:
        hits = ledger.search(query, limit, places)
    if given.as_json:
        print_json(search_document(query, hits))
    elif not hits:
        say("not found")
    else:
        _print_hits(hits)


app.command("redo")(jobs_again.redo)
app.command("retry")(of_jobs.retry)
app.command("cancel")(of_jobs.cancel)
app.command("priority")(of_jobs.priority)
app.command("rename-speaker")(jobs_again.rename_speaker)


@app.command("skipped")
def skipped(
    context: typer.Context,
    limit: Annotated[
        int, typer.Option(min=1, metavar="NUMBER", help="Number of files to list, last noticed first.")
    ] = 50,
    config: options.Config = None,
    database: options.Database = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List files that were not taken, with the reason.

    The last noticed is first.

    JSON, dropscribe/skipped/1: database, skipped [{path, folder, code, reason, first_seen, last_seen}].
    """
    from dropscribe.cli.arguments.settings import database_location
    from dropscribe.cli.output import brief, moment, print_json, print_list, say
    from dropscribe.ledger.backend import open_read_only
    from dropscribe.views.jobs import skipped_document

    given = merged(context, config, database, as_json)
    location = database_location(given.config, given.database)
    with closing(open_read_only(location)) as ledger:
        skips = ledger.recent_skips(limit)
    if given.as_json:
        print_json(skipped_document(location, skips))
    elif not skips:
        say("nothing was skipped")
    else:
        rows = [(brief(s.path), moment(s.last_seen, time.time()), s.reason) for s in skips]
        print_list(("file", "noticed", "reason"), rows)


def _print_jobs(
    found: Sequence[JobSummary], running: Mapping[int, Progress], waits: Sequence[FolderWait]
) -> None:
    from dropscribe.cli.output import brief, moment, print_list
    from dropscribe.views.jobs import outcome, state_since
    from dropscribe.views.waiting import waits_for

    now = time.time()
    # Without several hosts nobody has a name.
    named = any(j.host for j in found)
    rows = [
        (
            brief(j.recording),
            str(j.id),
            *((j.host or "",) if named else ()),
            j.shown_state,
            moment(state_since(j), now),
            outcome(j, running.get(j.id), waits_for(j, waits)),
        )
        for j in found
    ]
    print_list(("recording", "job", *(("host",) if named else ()), "state", "since", "result"), rows)


def _quoted(argument: str) -> str:
    """An argument with blanks as a phrase: the shell has removed its quotes."""
    return argument if '"' in argument or len(argument.split()) < 2 else f'"{argument}"'


def _print_hits(hits: Sequence[Hit]) -> None:
    """Print each recording once, then its places with the time at which the first word was said."""
    from dropscribe import durations
    from dropscribe.cli.output import brief, print_marked, say, terminal_width
    from dropscribe.columns import shortened

    width = terminal_width()
    for (job, recording), of_job in groupby(hits, key=lambda hit: (hit.job_id, hit.recording)):
        places = list(of_job)
        label = f"  (job {job})"
        say(shortened(brief(recording), width - len(label)) + label)
        for copy in places[0].copies:
            label = f"  (job {copy.job_id}, same content)"
            say(shortened(brief(copy.recording), width - len(label)) + label)
        for hit in places:
            lead = f"{durations.length(hit.matches[0].start_ms / 1000):>9}  "
            print_marked(lead, hit.snippet, [(m.first, m.last) for m in hit.matches])
        if places[0].more:
            say(f"{'…':>9}  and more (--places NUMBER)")


def _version(job: JobSummary) -> str:
    """Version of a transcript that was made again; "" for the first."""
    if job.version == 1:
        return ""
    return (
        f"{job.version}, {f'replaces job {job.supersedes}' if job.supersedes else 'beside the earlier ones'}"
    )


def _kept(detail: JobDetail) -> list[tuple[str, str]]:
    """What was removed or moved after the job was done."""
    from dropscribe.cli.output import local
    from dropscribe.escapes import readable

    where = detail.whereabouts
    if where.purged_at is not None:
        return [("purged", f"all that was stored of it, {local(where.purged_at)}")]
    to = "" if where.departed is None else f" to {readable(where.departed)}"
    removed = (
        ("text", where.text_removed_at),
        ("logs", where.logs_removed_at),
        ("files", where.files_removed_at),
    )
    return [
        *([(where.departure, f"the recording{to}, {local(where.departed_at)}")] if where.departure else []),
        *((what, f"removed {local(at)}") for what, at in removed if at is not None),
    ]


def _print_job(
    detail: JobDetail, progress: Progress | None, wait: FolderWait | None, actions: Sequence[Action]
) -> None:
    from dropscribe import durations
    from dropscribe.cli.output import local, print_facts, print_text, say
    from dropscribe.escapes import readable
    from dropscribe.views.jobs import outcome, progress_text, text_of
    from dropscribe.views.timeline import timeline

    job, result = detail.summary, detail.result
    facts = [
        ("job", f"{job.id}, {job.shown_state}"),
        ("recording", readable(job.recording)),
        ("progress", progress_text(progress) if progress else ""),
        ("waits for", f"{wait.text()}" if wait else ""),
        ("priority", str(job.priority) if job.priority else ""),
        ("reason", job.reason or ""),
        ("remedy", job.remedy or ""),
        ("result of", f"job {job.reference}" if job.reference else ""),
        ("version", _version(job)),
        ("profile", job.profile),
        *_kept(detail),
        ("content", f"{detail.size} bytes, sha256 {detail.sha256}"),
    ]
    if result is not None:
        media, engine = result.media, result.engine
        speech = durations.length(job.speech_s or 0.0)
        facts += [
            ("audio", f"{outcome(replace(job, remarks=()))}; {speech} of it speech"),
            (
                "format",
                f"{media.container}, {media.codec}, {media.sample_rate_hz} Hz, {media.channels} channel{'s' * (media.channels != 1)}",
            ),
            *(("remark", text) for text in job.remarks),
            *(("warning", w) for w in media.warnings if w != media.truncated),
            ("engine", f"{engine.model} with {engine.vad_model} on {engine.device}, {engine.precision}"),
            ("notice", engine.notice or ""),
            *_stages(result.timings),
        ]
    facts += [
        (o.format, readable(o.path) + ("" if o.published else " (not written)")) for o in detail.outputs
    ]
    paths = {"recording", *(o.format for o in detail.outputs)}
    facts += [("version", text) for text in _other_versions(detail)]
    print_facts(((name, value) for name, value in facts if value), paths)
    say()
    print_facts((local(event.at), event.text) for event in timeline(detail, actions))
    text = text_of(detail)
    if text:
        say()
        print_text(f"{text}\n")


def _stages(timings: Timings) -> list[tuple[str, str]]:
    """Seconds of each stage, with a bar."""
    from dropscribe.cli.output import shows_blocks
    from dropscribe.views.stats_chart import bars

    drawn = bars([seconds for _, seconds in timings.seconds], _STAGE_BAR, blocks=shows_blocks())
    return [
        (f"  {stage}", f"{s:.3f} s  {bar}") for (stage, s), bar in zip(timings.seconds, drawn, strict=True)
    ]


def _other_versions(detail: JobDetail) -> list[str]:
    return [
        f"{v.version} is job {v.job_id}, {v.state.value}, profile {v.profile}"
        for v in detail.versions
        if v.job_id != detail.summary.id
    ]
