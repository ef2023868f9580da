"""Source for plain PCM files, through libsndfile."""

from __future__ import annotations

import os
from collections.abc import Iterator

import soundfile

from dropscribe.errors import UnreadableMediaError
from dropscribe.media.container.reader import raise_storage_trouble
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
    """A recording decoded by libsndfile from the start of `fd`, which the caller must close."""

    def __init__(self, fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        self._fd = fd
        try:
            self._file = soundfile.SoundFile(fd, closefd=False)
        except soundfile.LibsndfileError as e:
            raise_storage_trouble(fd)
            raise UnreadableMediaError(_words(e)) from e
        codec = _ENCODINGS.get(self._file.subtype)
        if codec is None or not 0 < self._file.channels <= 1024:
            self._file.close()
            raise UnreadableMediaError(f"libsndfile is not used for {self._file.subtype}")
        if codec.startswith("pcm_") and codec[-2:] in ("16", "24", "32", "64"):
            codec += _ORDERS.get(self._file.format, "")
        self._int16 = self._file.subtype == "PCM_16"
        self.damage = 0
        self.facts = SourceFacts(
            container=self._file.format.lower(),
            codec=codec,
            rate_hz=self._file.samplerate,
            channels=self._file.channels,
            decoder="soundfile",
            declared_s=self._file.frames / self._file.samplerate if self._file.samplerate else None,
        )

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
            if not len(samples):
                return
            yield Block(samples, self.facts.rate_hz)

    def close(self) -> None:
        """Release libsndfile's state."""
        self._file.close()


def _words(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string).removeprefix("Error : ").rstrip(".")
