"""The transcript of a finished job, as its files were rendered from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dropscribe.escapes import readable
from dropscribe.transcript.types import Transcript

if TYPE_CHECKING:
    from dropscribe.ledger.records import JobDetail


def transcript_of(detail: JobDetail) -> Transcript | None:
    """The input of the renderers for a job; None while there is no result, or after its text was removed."""
    result, job = detail.result, detail.summary
    if result is None:
        return None
    return Transcript(
        recording_name=readable(job.recording.name),
        sha256=detail.sha256,
        job_id=job.id,
        created_at=job.admitted_at,
        media=result.media,
        engine=result.engine,
        segments=result.segments,
        timings=result.timings,
        speakers=result.speakers,
        recipe=detail.recipe,
    )
