"""Decide whether a recording is truncated: compare the declared with the decoded duration. Pure policy."""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.media.container.reader import ContainerCheck
from dropscribe.media.container.streamed import CUT_FRAME

#: Difference between decoded and declared duration of an undamaged file, seconds: priming and padding of lossy
#: codecs, one frame lost at each end.
_TOLERANCE_S = 0.25

#: Longest frame of a lossy codec, seconds: 1024 samples of AAC at 8 kHz.
_FRAME_S = 0.128

#: Kinds whose declared duration is exact: any missing sample means truncation.
_EXACT = frozenset({"flac", "wav", "w64", "aiff", "nist", "au", "tta", "wavpack"})

#: Kinds whose declared duration is that of the audio and can be compared with the decoded one. In other kinds it may be
#: that of the picture, or an estimate from the bit rate.
_INDEXED = _EXACT | {"mp4", "mp3"}

#: Kinds whose header has a duration that decoders report; for others they estimate it from bit rate and file size.
_TIMED = frozenset({"mp4", "matroska"})


@dataclass(frozen=True, slots=True)
class Decoded:
    """Amount of audio a decoder delivered."""

    seconds: float
    damage: int  #: places where packets were left out


@dataclass(frozen=True, slots=True)
class Verdict:
    """`truncated`: the sign of truncation in words, or None; and further warnings.

    `missing_s`: audio that is missing although the file is not cut, seconds.
    """

    truncated: str | None
    warnings: tuple[str, ...]
    missing_s: float = 0.0


def judge(check: ContainerCheck, declared_s: float | None, decoded: Decoded) -> Verdict:
    """Compare the container's declarations (`check`) and the decoder's `declared_s` with the decoded audio.

    `declared_s` is used only where `check` has no duration and the decoder did not estimate it.
    """
    warnings = []
    if decoded.damage:
        places = "one place" if decoded.damage == 1 else f"{decoded.damage} places"
        warnings.append(f"the recording is damaged in {places}; what could not be decoded was left out")
    expected_s = check.declared_s
    if expected_s is None and check.kind in _TIMED:
        expected_s = declared_s
    if check.kind not in _INDEXED and (check.whole is not False or check.kind == "unknown"):
        return Verdict(None, tuple(warnings))
    tolerance_s = 0.002 if check.kind in _EXACT else _TOLERANCE_S
    short = expected_s is not None and decoded.seconds < expected_s - tolerance_s
    if check.whole is False and expected_s is not None and check.kind in _INDEXED:
        # Without a declared length the duration is only that of the part which is there (fragmented MP4).
        exact, known = check.kind in _EXACT, check.declared_bytes is not None
        if (exact or known) and decoded.seconds >= expected_s - (tolerance_s if exact else _FRAME_S):
            # Another recording follows in the file, or less than a frame is missing.
            return Verdict(None, tuple(warnings))
    if check.whole is False:
        return Verdict(_words(check, expected_s if short else None, decoded), tuple(warnings))
    if not short or expected_s is None:
        return Verdict(None, tuple(warnings))
    if check.whole and check.detail != CUT_FRAME:
        lost = expected_s - decoded.seconds
        warnings.append(f"the recording is damaged: {lost:.1f} s of {expected_s:.1f} s could not be decoded")
        return Verdict(None, tuple(warnings), lost)
    return Verdict(_words(check, expected_s, decoded), tuple(warnings))


def _words(check: ContainerCheck, expected_s: float | None, decoded: Decoded) -> str:
    if expected_s is not None:
        return f"the file ends after {decoded.seconds:.1f} s of the {expected_s:.1f} s its header declares"
    return f"the file ends after {decoded.seconds:.1f} s and is cut short: {check.detail}"
