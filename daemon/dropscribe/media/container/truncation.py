"""Is the recording cut short? Decided from what the container declares and what was really decoded. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.media.container.reader import ContainerCheck

#: Seconds by which decoders and headers may differ in a sound file: priming and padding of lossy codecs, one
#: frame lost at each end.
_TOLERANCE_S = 0.25

#: Kinds whose declared length is exact, so that any missing sample is a cut.
_EXACT = frozenset({"flac", "wav", "w64", "aiff", "nist", "au", "tta", "wavpack"})

#: Kinds whose declared length is an index of the audio itself and may be held against what was decoded.
#: Elsewhere it may be the picture's length, or a guess from the bit rate.
_INDEXED = _EXACT | {"mp4", "mp3"}

#: Kinds in whose headers a decoder reads a duration; for others it guesses from bit rate and file size.
_TIMED = frozenset({"mp4", "matroska"})


@dataclass(frozen=True, slots=True)
class Decoded:
    """What came out of the decoder."""

    seconds: float
    damage: int  #: packets that were left out


@dataclass(frozen=True, slots=True)
class Verdict:
    """`truncated` in words, or None; and further warnings."""

    truncated: str | None
    warnings: tuple[str, ...]


def judge(check: ContainerCheck, declared_s: float | None, decoded: Decoded) -> Verdict:
    """Compare the container's own words (`check`), the decoder's reading of them and the result.

    `declared_s` counts only where `check` states no duration and the decoder did not have to guess it.
    """
    warnings = []
    if decoded.damage:
        places = "one place" if decoded.damage == 1 else f"{decoded.damage} places"
        warnings.append(f"the recording is damaged in {places}; what could not be decoded was left out")
    expected_s = check.declared_s
    if expected_s is None and check.kind in _TIMED:
        expected_s = declared_s
    if check.kind not in _INDEXED and check.whole is not False:
        return Verdict(None, tuple(warnings))
    tolerance_s = 0.002 if check.kind in _EXACT else _TOLERANCE_S
    short = expected_s is not None and decoded.seconds < expected_s - tolerance_s
    if check.whole is False:
        return Verdict(_words(check, expected_s if short else None, decoded), tuple(warnings))
    if not short or expected_s is None:
        return Verdict(None, tuple(warnings))
    if check.whole:
        lost = expected_s - decoded.seconds
        warnings.append(f"the recording is damaged: {lost:.1f} s of {expected_s:.1f} s could not be decoded")
        return Verdict(None, tuple(warnings))
    return Verdict(_words(check, expected_s, decoded), tuple(warnings))


def _words(check: ContainerCheck, expected_s: float | None, decoded: Decoded) -> str:
    if expected_s is not None:
        return f"the file ends after {decoded.seconds:.1f} s of the {expected_s:.1f} s its header declares"
    return f"the file ends after {decoded.seconds:.1f} s and is cut short: {check.detail}"
