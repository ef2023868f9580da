"""A process that renders transcripts, so that the daemon's interpreter does not: a GPU delivers a hundred and more a second."""

from __future__ import annotations

from multiprocessing.connection import Connection

from dropscribe import children
from dropscribe.transcript import render

#: As `ps` and `top` show it.
NAME = "ds-render"


def main(pipe: Connection) -> None:
    """Say that it has started, then answer (transcript, names of formats, options) until the pipe is closed.

    An answer is the bytes of each format; None if rendering raised an error.
    """
    children.set_up(NAME)
    try:
        pipe.send(NAME)
        while True:
            transcript, formats, options = pipe.recv()
            try:
                files = render.render_all(transcript, formats, options)
            except Exception:  # the caller renders it again, and has the error where it can be told
                files = None
            pipe.send(files)
    except (EOFError, OSError):
        # The daemon has ended.
        return
