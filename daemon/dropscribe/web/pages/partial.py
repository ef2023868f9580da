"""The text of a recording in progress, from its file."""

from __future__ import annotations

import os

from dropscribe.files import close, open_recording
from dropscribe.ledger.interface import Ledger
from dropscribe.ledger.records import JobDetail
from dropscribe.service.publishing.output_plan import root_over
from dropscribe.web.site import Site

#: Most of it that is shown, from its end, bytes.
_MOST_BYTES = 1 << 18


def partial_text(ledger: Ledger, site: Site, detail: JobDetail) -> str | None:
    """What was recognised so far; None if the profile writes no such file, or it is not there yet."""
    job = detail.summary
    file = next((o.path for o in ledger.partials() if o.job_id == job.id), None)
    if file is None:
        return None
    root = job.folder if site.settings is None else root_over(job.recording, site.settings)
    try:
        descriptor = open_recording(file, root if file.is_relative_to(root) else job.folder)
    except OSError:
        return None
    try:
        size = os.fstat(descriptor).st_size
        data = os.pread(descriptor, _MOST_BYTES, max(0, size - _MOST_BYTES))
    except OSError:
        return None
    finally:
        close(descriptor)
    return data.decode("utf-8", "replace")
