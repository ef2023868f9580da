"""Triton kernels of the packed path: what stands between two matrix products of a layer, in one pass over memory.

Rows are the frames (or tokens) of all recordings of a batch, one after another without padding; `first` and `last` say for each
row where its own recording begins and ends, so that the memory block never looks into a neighbour. The residual stream is
float32 (official weights reach 480,000, float16 ends at 65,504); matrix products read and write float16, those that
write to the stream scaled by 1 / `SCALE`.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Power of two by which whatever is added to the residual stream is scaled down while it is float16.
SCALE = 16.0
#: Epsilon of every layer normalisation of Paraformer.
EPSILON = 1e-12
#: Rows one program of a kernel works on.
ROWS = 4


@triton.jit
def _normalise(y, weight, bias, cols, channels: tl.constexpr, epsilon: tl.constexpr) -> Any:  # type: ignore[no-untyped-def]
    mean = tl.sum(y, axis=1) / channels
    centred = y - mean[:, None]
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=1) / channels + epsilon)
    return centred * scale[:, None] * tl.load(weight + cols)[None, :] + tl.load(bias + cols)[None, :]


# The count of rows is of no meaning to the compiler: a kernel of its own for every kind of number would be made while
# recordings wait.
@triton.jit(do_not_specialize=["count"])
def _memory_add_norm(  # type: ignore[no-untyped-def]
    v, v_stride, taps, first, last, attended, out_bias, stream, weight, bias, new_stream, normed, count,
    scale: tl.constexpr, has_attended: tl.constexpr, has_stream: tl.constexpr, channels: tl.constexpr,
    kernel: tl.constexpr, left: tl.constexpr, epsilon: tl.constexpr, rows_each: tl.constexpr,
) -> None:  # fmt: skip
    rows = tl.program_id(0) * rows_each + tl.arange(0, rows_each)
    cols = tl.arange(0, channels)
    inside = rows < count
    low = tl.load(first + rows, mask=inside, other=0)
    high = tl.load(last + rows, mask=inside, other=0)
    at = rows[:, None].to(tl.int64) * channels + cols[None, :]
    y = tl.load(
        v + rows[:, None].to(tl.int64) * v_stride + cols[None, :], mask=inside[:, None], other=0.0
    ).to(tl.float32)
    for k in tl.static_range(kernel):
        row = rows + k - left
        reach = inside & (row >= low) & (row < high)
        tap = tl.load(taps + k * channels + cols)
        y += tap[None, :] * tl.load(
            v + row[:, None].to(tl.int64) * v_stride + cols[None, :], mask=reach[:, None], other=0.0
        ).to(tl.float32)
    if has_attended:
        y += tl.load(attended + at, mask=inside[:, None], other=0.0).to(tl.float32)
    y = y * scale
    if has_attended:
        y += tl.load(out_bias + cols)[None, :]
    if has_stream:
        y += tl.load(stream + at, mask=inside[:, None], other=0.0)
    tl.store(new_stream + at, y, mask=inside[:, None])
    n = _normalise(y, weight, bias, cols, channels, epsilon)
    tl.store(normed + at, n.to(normed.dtype.element_ty), mask=inside[:, None])


@triton.jit(do_not_specialize=["count"])
def _add_norm(  # type: ignore[no-untyped-def]
    product, product_bias, stream, weight, bias, new_stream, normed, count,
    scale: tl.constexpr, channels: tl.constexpr, epsilon: tl.constexpr, rows_each: tl.constexpr,
) -> None:  # fmt: skip
    rows = tl.program_id(0) * rows_each + tl.arange(0, rows_each)
    cols = tl.arange(0, channels)
    inside = (rows < count)[:, None]
    at = rows[:, None].to(tl.int64) * channels + cols[None, :]
    y = tl.load(product + at, mask=inside, other=0.0).to(tl.float32) * scale
    y += tl.load(product_bias + cols)[None, :]
    y += tl.load(stream + at, mask=inside, other=0.0)
    tl.store(new_stream + at, y, mask=inside)
    n = _normalise(y, weight, bias, cols, channels, epsilon)
    tl.store(normed + at, n.to(normed.dtype.element_ty), mask=inside)


def memory_add_norm(
    v: Tensor,
    taps: Tensor,
    left: int,
    bounds: tuple[Tensor, Tensor],
    attended: tuple[Tensor, Tensor] | None,
    stream: Tensor | None,
    norm: tuple[Tensor, Tensor],
    scale: float,
    epsilon: float = EPSILON,
) -> tuple[Tensor, Tensor]:
    """Return stream + scale · (v + conv(v) + attended) + bias, with its layer normalisation.

    v: (rows, channels) float16, rows may be strided; taps: (kernel, channels) float32; bounds: first and last+1 row of
    each row's recording, int32; attended: float16 product and its float32 bias; stream: float32, contiguous. Returns the new
    stream (float32) and its norm (float16). The channels must be a power of two.
    """
    rows, channels = v.shape
    new_stream = torch.empty(rows, channels, device=v.device)
    normed = torch.empty(rows, channels, device=v.device, dtype=v.dtype)
    product, product_bias = attended if attended is not None else (v, taps)
    _memory_add_norm[(triton.cdiv(rows, ROWS),)](
        v, v.stride(0), taps, bounds[0], bounds[1], product, product_bias, new_stream if stream is None else stream,
        norm[0], norm[1], new_stream, normed, rows,
        scale=scale, has_attended=attended is not None, has_stream=stream is not None, channels=channels,
        kernel=taps.shape[0], left=left, epsilon=epsilon, rows_each=ROWS,
    )  # fmt: skip
    return new_stream, normed


def add_norm(
    product: Tensor,
    product_bias: Tensor,
    stream: Tensor,
    norm: tuple[Tensor, Tensor],
    scale: float,
    epsilon: float = EPSILON,
) -> tuple[Tensor, Tensor]:
    """Return stream + scale · product + bias, and its layer normalisation; types as in `memory_add_norm`."""
    rows, channels = product.shape
    new_stream = torch.empty_like(stream)
    normed = torch.empty_like(product)
    _add_norm[(triton.cdiv(rows, ROWS),)](
        product, product_bias, stream, norm[0], norm[1], new_stream, normed, rows,
        scale=scale, channels=channels, epsilon=epsilon, rows_each=ROWS,
    )  # fmt: skip
    return new_stream, normed
