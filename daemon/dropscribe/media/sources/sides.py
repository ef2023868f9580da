"""Compare the two sides of a stereo recording, above all to recognise a telephone call: one speaker on each side.

It is a call if, over the 100 ms frames in which there is sound:

1. the sides are not alike: their correlation is below 0.3;
2. in most frames one side is at least 10 dB louder than the other;
3. each side is the louder one by that much in some of them: a recording with sound on one side only is no call.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from dropscribe.media.normalise import Block
from dropscribe.media.timeline import Hole

#: Length of a frame: this part of a second.
_FRAMES_A_SECOND = 10
#: Frames with sound after which listening ends, and frames after which it ends without.
_ENOUGH = 180 * _FRAMES_A_SECOND
_MOST = 900 * _FRAMES_A_SECOND
#: Fewest frames with sound that are judged.
_FEWEST = 2 * _FRAMES_A_SECOND
#: Mean square below which a frame has no sound (-60 dB), and below which relative to the loud frames (-30 dB).
_SILENT = 1e-6
_FAINT = 1e-3
#: Power ratio of 10 dB, and the correlation of unlike sides.
_LOUDER = 10.0
_UNLIKE = 0.3
#: Share of frames in which one side is louder, and in which each of them is.
_MOST_OFTEN = 0.5
_SOMETIMES = 0.05

#: Power of the difference of sides that are alike, relative to theirs (-40 dB).
_ALIKE = 1e-4

_FULL_SCALE = np.float32(32_768)


class Sides(Enum):
    """How the sides of a stereo recording differ."""

    ALIKE = "alike"  #: the same on both
    CALL = "call"
    OTHER = "other"  #: or it is not stereo, or has too little sound to tell


def compare(pieces: Iterable[Block | Hole]) -> Sides:
    """Compare the sides of a recording by its first 3 minutes with sound, at most its first 15 minutes."""
    frames: list[NDArray[np.float64]] = []
    count = sounding = 0
    rest, rate_hz = np.zeros((0, 2), np.float32), 0
    for piece in pieces:
        if isinstance(piece, Hole):
            continue
        if piece.samples.shape[1] != 2:
            return Sides.OTHER
        if piece.rate_hz != rate_hz:
            rest, rate_hz = rest[:0], piece.rate_hz
        length = max(1, rate_hz // _FRAMES_A_SECOND)
        joined = np.concatenate([rest, _floats(piece)])
        whole = len(joined) // length * length
        rest = joined[whole:]
        measured = _measure(joined[:whole].reshape(-1, length, 2))
        frames.append(measured)
        count += len(measured)
        sounding += int(np.count_nonzero(measured[:, :2].max(axis=1) >= _SILENT))
        if sounding >= _ENOUGH or count >= _MOST:
            break
    return _judge(np.concatenate(frames)) if frames else Sides.OTHER


def _floats(block: Block) -> NDArray[np.float32]:
    if block.samples.dtype == np.int16:
        return block.samples.astype(np.float32) / _FULL_SCALE
    return np.clip(np.nan_to_num(block.samples.astype(np.float32, copy=False)), -1, 1)


def _measure(frames: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square of each side and mean product of both, without a constant offset, of frames of shape (n, length, 2)."""
    centred = frames - frames.mean(axis=1, keepdims=True)
    left, right = centred[:, :, 0], centred[:, :, 1]
    sums = [np.einsum("fn,fn->f", a, b) for a, b in ((left, left), (right, right), (left, right))]
    measured: NDArray[np.float64] = np.stack(sums, axis=1).astype(np.float64) / frames.shape[1]
    return measured


def _judge(frames: NDArray[np.float64]) -> Sides:
    louder = frames[:, :2].max(axis=1, initial=0.0)
    if not len(louder):
        return Sides.OTHER
    heard = frames[louder >= max(_SILENT, _FAINT * float(np.percentile(louder, 95)))]
    if len(heard) < _FEWEST:
        return Sides.OTHER
    left, right, product = (float(total) for total in heard.sum(axis=0))
    if left + right - 2 * product <= _ALIKE * (left + right):
        return Sides.ALIKE
    if abs(product) >= _UNLIKE * math.sqrt(left * right):
        return Sides.OTHER
    shares = [float(np.mean(heard[:, a] >= _LOUDER * heard[:, 1 - a])) for a in (0, 1)]
    return Sides.CALL if sum(shares) > _MOST_OFTEN and min(shares) >= _SOMETIMES else Sides.OTHER
