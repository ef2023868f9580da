"""Choose a decoder by the file's content: soundfile for plain PCM, PyAV for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dropscribe.errors import NoAudioError, UnreadableMediaError
from dropscribe.formats import unusual_name
from dropscribe.media.container.foreign import ZEROS
from dropscribe.media.container.inspect import inspect_open, recognise
from dropscribe.media.container.protection import protection
from dropscribe.media.container.reader import Bytes, ContainerCheck
from dropscribe.media.sources.following import delimit
from dropscribe.media.sources.source import Source
from dropscribe.media.sources.source_av import open_av
from dropscribe.media.sources.source_soundfile import SoundfileSource
from dropscribe.media.sources.span import Span
from dropscribe.media.sources.tracks import AUTO, missing

#: Kinds decoded by libsndfile. FLAC, Ogg and MP3 go to PyAV, which continues after damage where libsndfile stops;
#: libsndfile also prints messages about damaged MP3 on standard error.
_PLAIN_PCM = frozenset({"wav", "w64", "aiff", "au", "caf", "nist"})

#: Kinds without a structure: the check of their size is that of the last frame.
_FRAMED = frozenset({"mp3", "adts", "amr", "ogg", "flac", "wavpack"})


@dataclass(frozen=True, slots=True)
class Opening:
    """An open source, the result of the container check, and warnings for the user."""

    source: Source
    check: ContainerCheck
    warnings: tuple[str, ...]
    #: Offset at which the structure of the recording ends, bytes; None if it does not tell.
    structure_end: int | None


def open_source(fd: int, path: Path, size: int, track: int | str = AUTO) -> Opening:
    """Choose a decoder for the open file `fd` of `size` bytes; `path` is for messages only. `track` as in `DecodeOrder`.

    Raises UnreadableMediaError or NoAudioError with a description of the file; OSError, MemoryError.
    """
    if size == 0:
        raise NoAudioError("the file is empty", remedy="record or copy it again")
    # Not by `inspect_open`, which reports failures of the disk as damage.
    found, _ = recognise(Bytes(fd, size))
    if found.foreign is not None:
        raise UnreadableMediaError(found.foreign.reason, remedy=found.foreign.remedy)
    span, end = delimit(fd, 0, size, found.kind)
    check = inspect_open(fd, span.end)
    if how := protection(Bytes(fd, size), check.kind):
        raise UnreadableMediaError(
            f"its sound is encrypted ({how})",
            remedy="only the program it was made for plays it; drop a copy without protection, if you have one",
        )
    warnings = []
    if renamed := unusual_name(path.name, check.kind):
        warnings.append(renamed)
    if check.remark:
        warnings.append(check.remark)
    if (
        end is None
        and check.declared_bytes is not None
        and check.kind not in _FRAMED
        and not check.open_ended
    ):
        end = min(check.declared_bytes, size)
    return Opening(_open(span, check, track), check, tuple(warnings), end)


def _open(span: Span, check: ContainerCheck, track: int | str) -> Source:
    first: UnreadableMediaError | None = None
    if check.kind in _PLAIN_PCM and isinstance(track, int) and track > 1:
        raise missing(track, ())
    # Both libraries trust the header about the length.
    if check.kind in _PLAIN_PCM and (check.pcm is not None or not check.open_ended):
        try:
            return SoundfileSource(span.fd, check.kind, check.pcm)
        except UnreadableMediaError as e:
            first = e
    try:
        ignore_length = check.kind == "wav" and check.open_ended
        return open_av(span, track, check.present_bytes, ignore_length=ignore_length)
    except UnreadableMediaError as e:
        if check.whole is False and check.kind == "unknown":
            raise UnreadableMediaError(ZEROS.reason, remedy=ZEROS.remedy) from e
        if check.whole is False:
            raise UnreadableMediaError(
                f"it is cut short and cannot be opened: {check.detail}",
                remedy="copy the recording again, whole",
            ) from e
        if first is not None:
            raise UnreadableMediaError(f"{e.reason} ({first.reason})", remedy=e.remedy) from e
        raise
