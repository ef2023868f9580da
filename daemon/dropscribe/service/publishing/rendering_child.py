"""A process that renders transcripts, so that the daemon's interpreter does not: a GPU delivers a hundred and more a second."""

from __future__ import annotations

from multiprocessing.connection import Connection

from dropscribe import children
from dropscribe.ledger.columns import segment_rows
from dropscribe.transcript import render

#: As `ps` and `top` show it.
NAME = "ds-render"


def main(pipe: Connection) -> None:
    """Say that it has started, then answer (transcript, names of formats, options) until the pipe is closed.

    An answer is the bytes of each format, and the rows of the segments in the ledger; None if rendering raised an error.
    """
    children.set_up(NAME)
    try:
        pipe.send(NAME)
        while True:
            transcript, formats, options = pipe.recv()
            try:
                made = render.render_all(transcript, formats, options), segment_rows(transcript.segments)
            except Exception:  # the caller renders it again, and has the error where it can be told
                made = None
            pipe.send(made)
    except (EOFError, OSError):
        # The daemon has ended.
        return
