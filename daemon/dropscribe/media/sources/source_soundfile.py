"""Source for plain PCM files, through libsndfile."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from typing import Any

import soundfile

from dropscribe.errors import UnreadableMediaError
from dropscribe.media.container.reader import PcmLayout, raise_storage_trouble
from dropscribe.media.normalise import Block
from dropscribe.media.sources.source import SourceFacts

#: Values (frames x channels) read at once: 1 MiB of float32.
_VALUES = 1 << 18

#: Suffix for byte order in FFmpeg's encoding names, by file format.
_ORDERS = {"WAV": "le", "WAVEX": "le", "RF64": "le", "W64": "le", "AIFF": "be", "AU": "be"}

#: Encodings decoded here → FFmpeg's names. Others (ADPCM, GSM, MP3 in WAV …) are decoded by PyAV.
_ENCODINGS = {
    "PCM_S8": "pcm_s8",
    "PCM_U8": "pcm_u8",
    "PCM_16": "pcm_s16",
    "PCM_24": "pcm_s24",
    "PCM_32": "pcm_s32",
    "FLOAT": "pcm_f32",
    "DOUBLE": "pcm_f64",
    "ULAW": "pcm_mulaw",
    "ALAW": "pcm_alaw",
}


class SoundfileSource:
    """A recording decoded by libsndfile from `fd`, which the caller must close."""

    def __init__(self, fd: int, kind: str = "", layout: PcmLayout | None = None) -> None:
        """`layout`: where the samples are, if the header of the file, which is of `kind`, is wrong about it."""
        os.lseek(fd, 0, os.SEEK_SET)
        self._fd = fd
        try:
            self._window = None if layout is None else _Window(fd, layout.start, layout.end)
            if layout is None or self._window is None:
                self._file = soundfile.SoundFile(fd, closefd=False)
            else:
                self._file = _raw(self._window, layout)
        except soundfile.LibsndfileError as e:
            raise_storage_trouble(fd)
            raise UnreadableMediaError(_words(e)) from e
        codec = _ENCODINGS.get(self._file.subtype)
        if codec is None or not 0 < self._file.channels <= 1024:
            self._file.close()
            raise UnreadableMediaError(f"libsndfile is not used for {self._file.subtype}")
        if codec.startswith("pcm_") and codec[-2:] in ("16", "24", "32", "64"):
            order = _ORDERS.get(self._file.format, "") if layout is None else f"{layout.order[0]}e"
            codec += order
        self._int16 = self._file.subtype == "PCM_16"
        self.damage = 0
        self.facts = SourceFacts(
            container=self._file.format.lower() if layout is None else kind,
            codec=codec,
            rate_hz=self._file.samplerate,
            channels=self._file.channels,
            decoder="soundfile",
            declared_s=self._file.frames / self._file.samplerate if self._file.samplerate else None,
        )

    @property
    def end(self) -> int | None:
        """None: libsndfile does not tell."""
        return None

    def seek(self, at_s: float) -> Callable[[], float | None]:
        """See `source.Seekable`."""
        frame = min(round(at_s * self.facts.rate_hz), self._file.frames)
        try:
            self._file.seek(frame)
        except soundfile.LibsndfileError as e:
            raise UnreadableMediaError(_words(e)) from e
        reached = frame / self.facts.rate_hz
        return lambda: reached

    def blocks(self) -> Iterator[Block]:
        """Decode all frames in the file, regardless of the declared duration."""
        frames = max(1, _VALUES // self.facts.channels)
        dtype = "int16" if self._int16 else "float32"
        while True:
            try:
                samples = self._file.read(frames, dtype=dtype, always_2d=True)
            except soundfile.LibsndfileError:
                raise_storage_trouble(self._fd)
                self.damage += 1
                return
            if self._window is not None and self._window.failure is not None:
                raise self._window.failure
            if not len(samples):
                return
            yield Block(samples, self.facts.rate_hz)

    def close(self) -> None:
        """Release libsndfile's state."""
        self._file.close()


def _raw(window: _Window, layout: PcmLayout) -> soundfile.SoundFile:
    """The samples of `layout` as a file without a header."""
    return soundfile.SoundFile(
        window,
        format="RAW",
        samplerate=layout.rate_hz,
        channels=layout.channels,
        subtype=layout.encoding,
        endian="BIG" if layout.order == "big" else "LITTLE",
    )


class _Window(io.RawIOBase):
    """Part of an open file as a file of its own."""

    def __init__(self, fd: int, start: int, end: int) -> None:
        self._fd = fd
        self._start = start
        self._size = end - start
        self._at = 0
        #: First failed read. libsndfile calls through C, where an exception would be lost.
        self.failure: OSError | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        wanted = max(0, min(memoryview(buffer).nbytes, self._size - self._at))
        try:
            read = os.preadv(self._fd, [memoryview(buffer)[:wanted]], self._start + self._at) if wanted else 0
        except OSError as e:
            self.failure = self.failure or e
            return 0
        self._at += read
        return read


def _words(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
