"""Triton kernels of the front end and of the output layer: one pass over memory where torch's operations take several.

Whatever does not fit a cache costs the time of its passes only: frames of an hour are 600 MB, the scores of its tokens
as much.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Frames per program.
ROWS = 4
#: Values of the spectrum per program.
CELLS = 2048
#: Samples, or values of frames, that a program copies.
COPIED = 8192
#: Scores of a token that a program holds at a time.
SCORES = 4096


# No specialisation on counts: Triton would compile variants (e.g. for multiples of 16) in the middle of work.
@triton.jit(do_not_specialize=["count"])
def _windowed(  # type: ignore[no-untyped-def]
    pcm, starts, window, out, count,
    length: tl.constexpr, points: tl.constexpr, emphasis: tl.constexpr, rows_each: tl.constexpr,
) -> None:  # fmt: skip
    rows = tl.program_id(0) * rows_each + tl.arange(0, rows_each)
    cols = tl.arange(0, points)
    used = cols < length
    cells = (rows < count)[:, None] & used[None, :]
    at = tl.load(starts + rows, mask=rows < count, other=0)[:, None] + cols[None, :]
    here = tl.load(pcm + at, mask=cells, other=0).to(tl.float32)
    # The first sample of a frame is its own predecessor.
    before = tl.load(pcm + at - (cols > 0).to(tl.int64)[None, :], mask=cells, other=0).to(tl.float32)
    mean = (tl.sum(here, axis=1) / length)[:, None]
    w = tl.load(window + cols, mask=used, other=0.0)[None, :]
    y = ((here - mean) - emphasis * (before - mean)) * w
    tl.store(out + rows[:, None].to(tl.int64) * points + cols[None, :], y, mask=(rows < count)[:, None])


@triton.jit(do_not_specialize=["count"])
def _power(spectrum, out, count, bins: tl.constexpr, kept: tl.constexpr, cells_each: tl.constexpr) -> None:  # type: ignore[no-untyped-def]
    at = tl.program_id(0).to(tl.int64) * cells_each + tl.arange(0, cells_each)
    inside = at < count
    source = (at // kept * bins + at % kept) * 2
    real = tl.load(spectrum + source, mask=inside, other=0.0)
    imaginary = tl.load(spectrum + source + 1, mask=inside, other=0.0)
    tl.store(out + at, real * real + imaginary * imaginary, mask=inside)


@triton.jit
def _best(  # type: ignore[no-untyped-def]
    scores, bias, ids, share, width: tl.constexpr, stride: tl.constexpr, cells_each: tl.constexpr
) -> None:
    row = tl.program_id(0).to(tl.int64)
    highest = float("-inf")
    best = 0
    total = 0.0
    for first in tl.static_range(0, width, cells_each):
        cols = first + tl.arange(0, cells_each)
        used = cols < width
        found = tl.load(scores + row * stride + cols, mask=used, other=float("-inf"))
        found += tl.load(bias + cols, mask=used, other=0.0)
        here = tl.max(found, axis=0)
        at = first + tl.argmax(found, axis=0)
        best = tl.where(here > highest, at, best)
        above = tl.maximum(here, highest)
        total = total * tl.exp(highest - above) + tl.sum(tl.exp(found - above), axis=0)
        highest = above
    tl.store(ids + row, best)
    tl.store(share + row, 1.0 / total)


@triton.jit
def _gathered(places, out, tile: tl.constexpr) -> None:  # type: ignore[no-untyped-def]
    part, parts = tl.program_id(0), tl.num_programs(0)
    source = tl.load(places + part).to(tl.pointer_type(out.dtype.element_ty))
    first = tl.load(places + parts + part)
    count = tl.load(places + 2 * parts + part)
    at = tl.program_id(1).to(tl.int64) * tile + tl.arange(0, tile)
    tl.store(out + first + at, tl.load(source + at, mask=at < count), mask=at < count)


def gathered(places: Tensor, values: int, longest: int, dtype: torch.dtype) -> Tensor:
    """Values from anywhere in memory that the device can read, one part after another: (values,) of `dtype`.

    places: (3, parts) int64: address of each part, its place in the result, its number of values, at most `longest`.
    The memory must stay as it is until the device has read it.
    """
    out = torch.empty(values, dtype=dtype, device=places.device)
    _gathered[places.shape[1], triton.cdiv(longest, COPIED)](places, out, tile=COPIED)
    return out


def windowed(pcm: Tensor, starts: Tensor, window: Tensor, points: int, emphasis: float) -> Tensor:
    """Frames less their mean, pre-emphasised and windowed, with zeros behind: (n, points) float32.

    pcm: (samples,) int16 or float32; starts: (n,) int64, first sample of each; window: (length,) float32.
    """
    out = torch.empty(starts.numel(), points, device=pcm.device)
    _windowed[(triton.cdiv(starts.numel(), ROWS),)](
        pcm, starts, window, out, starts.numel(),
        length=window.numel(), points=points, emphasis=emphasis, rows_each=ROWS,
    )  # fmt: skip
    return out


def power(spectrum: Tensor, kept: int) -> Tensor:
    """Squared magnitudes of the first `kept` values of each row. spectrum: (n, bins) complex64. Returns float32."""
    out = torch.empty(spectrum.shape[0], kept, device=spectrum.device)
    _power[(triton.cdiv(out.numel(), CELLS),)](
        torch.view_as_real(spectrum), out, out.numel(), bins=spectrum.shape[1], kept=kept, cells_each=CELLS
    )
    return out


def best(scores: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Number of the highest of `scores` + `bias` in each row, int64, and its softmax, float32.

    scores: (n, width) float32, rows may be strided; bias: (width,) float32.
    """
    ids = torch.empty(scores.shape[0], dtype=torch.int64, device=scores.device)
    share = torch.empty(scores.shape[0], device=scores.device)
    _best[(scores.shape[0],)](
        scores, bias, ids, share, width=scores.shape[1], stride=scores.stride(0), cells_each=SCORES
    )
    return ids, share
