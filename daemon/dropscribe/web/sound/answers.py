"""Answers with sound: a WAV that is decoded on the way, or the recording as it is."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from dropscribe.files import close
from dropscribe.media.protocol import Excerpt
from dropscribe.web.sound.pool import Decoding, SoundPool
from dropscribe.web.sound.ranges import HEADER, Bytes, wav_header

#: Bytes that are sent at a time.
_PIECE = 1 << 16


class _SoundAnswer(Response):
    """An answer whose body is made while it is sent, and no further once the client is gone."""

    def __init__(self, part: Bytes, kind: str, etag: str, more: Mapping[str, str]) -> None:
        self.status_code = part.status
        self.background = None
        self.body = b""
        self.part = part
        self.init_headers({**part.headers(etag), "Content-Type": kind, **more})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        silent = scope["method"] == "HEAD"
        work = asyncio.ensure_future(self._send(send, silent=silent))
        gone = asyncio.ensure_future(_disconnected(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            work.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
            await run_in_threadpool(self.release)

    async def _send(self, send: Send, *, silent: bool) -> None:
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        await send(start)
        left = 0 if silent else self.part.count
        pieces = self.pieces()
        while left:
            piece = (await anext(pieces))[:left]
            left -= len(piece)
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def pieces(self) -> AsyncIterator[bytes]:
        """The body, which may be longer than what was asked for."""
        raise NotImplementedError

    def release(self) -> None:
        """Called at the end, in a thread."""


class DecodedSound(_SoundAnswer):
    """Bytes of a WAV file of 16 kHz, 16 bits, mono, that is nowhere: the samples are decoded from the recording."""

    def __init__(self, pool: SoundPool, excerpt: Excerpt, part: Bytes, etag: str) -> None:
        """`excerpt`: the whole recording; `part`: of `wav_size(excerpt.count)` bytes."""
        super().__init__(part, "audio/wav", etag, {})
        self._pool = pool
        self._excerpt = excerpt
        #: Guards what follows: an answer may end while its process is being started.
        self._lock = threading.Lock()
        self._decoding: Decoding | None = None
        self._released = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Header and samples; silence where the recording turns out to be shorter."""
        at = self.part.first
        if at < HEADER:
            yield wav_header(self._excerpt.count)[at:]
            at = HEADER
        first, odd = divmod(at - HEADER, 2)
        wanted = -(-(self.part.first + self.part.count - HEADER) // 2) - first
        if wanted > 0:
            excerpt = replace(self._excerpt, first=first, count=wanted)
            decoding = await run_in_threadpool(self._begin, excerpt)
            while data := await run_in_threadpool(os.read, decoding.samples, _PIECE):
                yield data[odd:]
                odd = 0
        while True:
            yield bytes(_PIECE)

    def _begin(self, excerpt: Excerpt) -> Decoding:
        """Start to decode, in a thread that goes on when the answer has ended meanwhile; then it ends the process."""
        decoding = self._pool.begin(excerpt)
        with self._lock:
            if not self._released:
                self._decoding = decoding
                return decoding
        self._pool.end(decoding)
        return decoding

    def release(self) -> None:
        """End the process that decodes."""
        with self._lock:
            self._released = True
        if self._decoding is not None:
            self._pool.end(self._decoding)
            self._pool.prepare()


class OriginalSound(_SoundAnswer):
    """Bytes of an open recording, whose descriptor this closes."""

    def __init__(self, descriptor: int, part: Bytes, kind: str, etag: str, more: Mapping[str, str]) -> None:
        super().__init__(part, kind, etag, more)
        self._descriptor = descriptor

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is in the file; zeros behind its end, if it was cut since."""
        at = self.part.first
        while data := await run_in_threadpool(os.pread, self._descriptor, _PIECE, at):
            yield data
            at += len(data)
        while True:
            yield bytes(_PIECE)

    def release(self) -> None:
        """Close the file."""
        close(self._descriptor)


def wav_size(samples: int) -> int:
    """Size of a WAV file, bytes."""
    return HEADER + 2 * samples


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
