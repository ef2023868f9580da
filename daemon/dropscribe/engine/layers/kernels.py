"""Triton kernels of the packed path: fuse the operations between two matrix products of a layer.

Rows are the frames (or tokens) of all segments of a batch, concatenated without padding; `first` and `last` are the
bounds of each row's segment, so that the memory block never reads another segment. The residual stream is float32
(values reach 480,000 with official weights, float16 ends at 65,504). Matrix products read and write float16; those
added to the stream are scaled by 1 / `SCALE`.

Rows of matrix products may be wider than the model, with zeros behind, since tensor cores take multiples of 8 only.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Factor (a power of two) by which float16 products are scaled down before they are added to the residual stream.
SCALE = 16.0
#: Epsilon of every layer normalisation of Paraformer.
EPSILON = 1e-12
#: Rows per program of a kernel.
ROWS = 4
#: Channels per warp of a program with the memory block. On an H200, 44,000 rows of 512 channels take 108 µs with one warp
#: and 132 µs with Triton's four; more channels than these do not fit its registers.
MEMORY_CHANNELS = 512


# A block is as wide as a power of two; columns beyond the channels of the model are masked, and zero in `y`.
@triton.jit
def _normalise(y, weight, bias, cols, channels: tl.constexpr, epsilon: tl.constexpr) -> Any:  # type: ignore[no-untyped-def]
    mean = tl.sum(y, axis=1) / channels
    used = cols < channels
    centred = tl.where(used[None, :], y - mean[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(centred * centred, axis=1) / channels + epsilon)
    w = tl.load(weight + cols, mask=used, other=0.0)
    return centred * scale[:, None] * w[None, :] + tl.load(bias + cols, mask=used, other=0.0)[None, :]


# No specialisation on the row count: Triton would compile variants (e.g. for multiples of 16) in the middle of work.
@triton.jit(do_not_specialize=["count"])
def _memory_add_norm(  # type: ignore[no-untyped-def]
    v, v_stride, taps, first, last, attended, out_bias, stream, weight, bias, new_stream, normed, count,
    scale: tl.constexpr, has_attended: tl.constexpr, has_stream: tl.constexpr, channels: tl.constexpr,
    head: tl.constexpr, wide_head: tl.constexpr, width: tl.constexpr,
    block: tl.constexpr, kernel: tl.constexpr, left: tl.constexpr, epsilon: tl.constexpr, rows_each: tl.constexpr,
) -> None:  # fmt: skip
    rows = tl.program_id(0) * rows_each + tl.arange(0, rows_each)
    cols = tl.arange(0, block)
    used = cols < channels
    inside = rows < count
    cells = inside[:, None] & used[None, :]
    low = tl.load(first + rows, mask=inside, other=0)
    high = tl.load(last + rows, mask=inside, other=0)
    at = rows[:, None].to(tl.int64) * channels + cols[None, :]
    v_cols = cols if head == wide_head else cols // head * wide_head + cols % head
    y = tl.load(v + rows[:, None].to(tl.int64) * v_stride + v_cols[None, :], mask=cells, other=0.0).to(
        tl.float32
    )
    for k in tl.static_range(kernel):
        row = rows + k - left
        reach = inside & (row >= low) & (row < high)
        tap = tl.load(taps + k * channels + cols, mask=used, other=0.0)
        y += tap[None, :] * tl.load(
            v + row[:, None].to(tl.int64) * v_stride + v_cols[None, :],
            mask=reach[:, None] & used[None, :],
            other=0.0,
        ).to(tl.float32)
    if has_attended:
        y += tl.load(attended + rows[:, None].to(tl.int64) * width + cols[None, :], mask=cells, other=0.0).to(
            tl.float32
        )
    y = y * scale
    if has_attended:
        y += tl.load(out_bias + cols, mask=used, other=0.0)[None, :]
    if has_stream:
        y += tl.load(stream + at, mask=cells, other=0.0)
    tl.store(new_stream + at, y, mask=cells)
    n = _normalise(y, weight, bias, cols, channels, epsilon)
    tl.store(
        normed + rows[:, None].to(tl.int64) * width + cols[None, :],
        n.to(normed.dtype.element_ty),
        mask=inside[:, None] & (cols < width)[None, :],
    )


@triton.jit(do_not_specialize=["count"])
def _add_norm(  # type: ignore[no-untyped-def]
    product, product_bias, stream, weight, bias, new_stream, normed, count,
    scale: tl.constexpr, channels: tl.constexpr, width: tl.constexpr, block: tl.constexpr, epsilon: tl.constexpr,
    rows_each: tl.constexpr,
) -> None:  # fmt: skip
    rows = tl.program_id(0) * rows_each + tl.arange(0, rows_each)
    cols = tl.arange(0, block)
    used = cols < channels
    inside = (rows < count)[:, None] & used[None, :]
    at = rows[:, None].to(tl.int64) * channels + cols[None, :]
    wide_at = rows[:, None].to(tl.int64) * width + cols[None, :]
    y = tl.load(product + wide_at, mask=inside, other=0.0).to(tl.float32) * scale
    y += tl.load(product_bias + cols, mask=used, other=0.0)[None, :]
    y += tl.load(stream + at, mask=inside, other=0.0)
    tl.store(new_stream + at, y, mask=inside)
    n = _normalise(y, weight, bias, cols, channels, epsilon)
    tl.store(
        normed + wide_at,
        n.to(normed.dtype.element_ty),
        mask=(rows < count)[:, None] & (cols < width)[None, :],
    )


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
    heads: tuple[int, int] = (1, 1),
) -> tuple[Tensor, Tensor]:
    """Return stream + scale · (v + conv(v) + attended) + bias, and its layer normalisation.

    v: (rows, channels) float16, rows may be strided; taps: (kernel, channels) float32; bounds: first and last+1 row of
    each row's segment, int32; attended: float16 product, whose rows may be wider, and its float32 bias; stream: float32,
    contiguous; heads: channels of a head, and its columns in `v`, which has more if they differ. Returns the new stream
    (float32) and its normalisation (float16), as wide as `attended`, with zeros behind the channels.
    """
    rows, channels = v.shape[0], taps.shape[1]
    width = channels if attended is None else attended[0].shape[1]
    new_stream = torch.empty(rows, channels, device=v.device)
    normed = torch.empty(rows, width, device=v.device, dtype=v.dtype)
    product, product_bias = attended if attended is not None else (v, taps)
    block = triton.next_power_of_2(width)
    _memory_add_norm[(triton.cdiv(rows, ROWS),)](
        v, v.stride(0), taps, bounds[0], bounds[1], product, product_bias, new_stream if stream is None else stream,
        norm[0], norm[1], new_stream, normed, rows,
        scale=scale, has_attended=attended is not None, has_stream=stream is not None, channels=channels,
        head=heads[0], wide_head=heads[1], width=width,
        block=block, kernel=taps.shape[0], left=left, epsilon=epsilon, rows_each=ROWS,
        num_warps=max(1, block // MEMORY_CHANNELS),
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
    rows, channels = stream.shape
    width = product.shape[1]
    new_stream = torch.empty_like(stream)
    normed = torch.empty_like(product)
    _add_norm[(triton.cdiv(rows, ROWS),)](
        product, product_bias, stream, norm[0], norm[1], new_stream, normed, rows,
        scale=scale, channels=channels, width=width, block=triton.next_power_of_2(width), epsilon=epsilon,
        rows_each=ROWS,
    )  # fmt: skip
    return new_stream, normed
