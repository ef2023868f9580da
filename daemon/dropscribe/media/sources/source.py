"""Opening a recording by its content: soundfile for plain PCM, PyAV for everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dropscribe.errors import NoAudioError, UnreadableMediaError
from dropscribe.media.container.inspect import inspect_open, recognise
from dropscribe.media.container.reader import Bytes, ContainerCheck
from dropscribe.media.container.sniff import unusual_name
from dropscribe.media.normalise import Block

#: Kinds that libsndfile reads well. FLAC, Ogg and MP3 are PyAV's: it goes on behind damage where libsndfile
#: stops, and libsndfile prints about bad mp3 on standard error.
_PLAIN_PCM = frozenset({"wav", "w64", "aiff", "au", "caf", "nist"})


@dataclass(frozen=True, slots=True)
class SourceFacts:
    """What an open source says of itself."""

    container: str
    codec: str
    rate_hz: int
    channels: int
    decoder: str  #: "soundfile" or "av"
    declared_s: (
        float | None
    )  #: the duration the decoder reads in the headers, from the container's start; may be wrong
    #: So long after the container's start (that of a picture, say) the sound begins, by the headers; seconds.
    late_s: float = 0.0


class Source(Protocol):
    """An open recording."""

    @property
    def facts(self) -> SourceFacts:
        """Known once it is open."""

    def blocks(self) -> Iterator[Block]:
        """All audio that can be decoded, in order.

        Damage is counted and left out. Raises UnreadableMediaError, OSError, MemoryError.
        """

    @property
    def damage(self) -> int:
        """Places (packets) that could not be decoded so far and were left out."""

    def close(self) -> None:
        """Release the decoder; the file descriptor stays the caller's."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A source and what was noticed on the way to it."""

    source: Source
    check: ContainerCheck
    warnings: tuple[str, ...]


def open_source(fd: int, path: Path, size: int) -> Opening:
    """Choose a decoder for the open file `fd` of `size` bytes; `path` serves only for words.

    Raises UnreadableMediaError or NoAudioError, saying what the file looks like; OSError, MemoryError.
    """
    if size == 0:
        raise NoAudioError("the file is empty", remedy="Record or copy it again.")
    found, _ = recognise(Bytes(fd, size))
    if found.foreign is not None:
        raise UnreadableMediaError(
            f"it is {found.foreign}, not a recording", remedy="Drop the recording itself."
        )
    check = inspect_open(fd)
    warnings = []
    if renamed := unusual_name(path.name, check.kind):
        warnings.append(renamed)
    if check.open_ended and check.kind in _PLAIN_PCM:
        warnings.append(
            "the header does not say how long the recording is (the recorder was stopped before it could, "
            "or it was streamed); all that is there was read"
        )
    return Opening(_open(fd, check), check, tuple(warnings))


def _open(fd: int, check: ContainerCheck) -> Source:
    # Imported here so that the choice can be read without either library.
    from dropscribe.media.sources.source_av import AvSource  # noqa: PLC0415  a decoder is imported where it is used
    from dropscribe.media.sources.source_soundfile import SoundfileSource  # noqa: PLC0415  the same

    first: UnreadableMediaError | None = None
    # libsndfile believes a data size of 0; FFmpeg reads on to the end of the file.
    if check.kind in _PLAIN_PCM and not check.open_ended:
        try:
            return SoundfileSource(fd)
        except UnreadableMediaError as e:
            first = e
    try:
        return AvSource(fd)
    except UnreadableMediaError as e:
        if check.whole is False:
            raise UnreadableMediaError(
                f"it is cut short and cannot be opened: {check.detail}",
                remedy="Copy the recording again, whole.",
            ) from e
        if first is not None:
            raise UnreadableMediaError(f"{e.reason} ({first.reason})", remedy=e.remedy) from e
        raise
