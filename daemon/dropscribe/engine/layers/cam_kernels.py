"""Triton kernels of CAM++: the operations between two matrix products run in the products' own kernels.

Activations are float16, sums float32. Batch normalisation is folded into weights, or given as a scale and a shift. Images
of the front end are (windows, frequencies, steps, channels), of which the channels are next to each other; places in them
are 32-bit numbers, enough for 5,000 windows.
"""

from __future__ import annotations

import triton
import triton.language as tl
from torch import Tensor

#: Channels of the front end, and of the growth of a dense layer.
CHANNELS = 32
#: Rows, columns and depth of a tile of a matrix product.
_ROWS, _COLUMNS, _DEPTH = 128, 128, 64
#: Positions of an image per program.
_POSITIONS = 128


@triton.jit(do_not_specialize=["rows"])
def _norm_product(  # type: ignore[no-untyped-def]
    x, x_stride, scale, shift, weight, bias, out, out_stride, rows, channels, columns: tl.constexpr,
    has_bias: tl.constexpr, tile_rows: tl.constexpr, tile_columns: tl.constexpr, depth: tl.constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * tile_rows + tl.arange(0, tile_rows)
    column = tl.program_id(1) * tile_columns + tl.arange(0, tile_columns)
    inside = row < rows
    used = column < columns
    total = tl.zeros((tile_rows, tile_columns), tl.float32)
    for first in range(0, channels, depth):
        at = first + tl.arange(0, depth)
        known = at < channels
        values = tl.load(
            x + row[:, None].to(tl.int64) * x_stride + at[None, :],
            mask=inside[:, None] & known[None, :],
            other=0.0,
        )
        a = tl.load(scale + at, mask=known, other=0.0).to(tl.float32)
        b = tl.load(shift + at, mask=known, other=0.0).to(tl.float32)
        values = tl.maximum(values.to(tl.float32) * a[None, :] + b[None, :], 0.0).to(weight.dtype.element_ty)
        part = tl.load(
            weight + at[:, None] * columns + column[None, :], mask=known[:, None] & used[None, :], other=0.0
        )
        total += tl.dot(values, part)
    if has_bias:
        total += tl.load(bias + column, mask=used, other=0.0).to(tl.float32)[None, :]
        total = tl.maximum(total, 0.0)
    tl.store(
        out + row[:, None].to(tl.int64) * out_stride + column[None, :],
        total.to(out.dtype.element_ty),
        mask=inside[:, None] & used[None, :],
    )


@triton.jit
def _masked_convolution(  # type: ignore[no-untyped-def]
    inner, local, context, context_bias, mask, mask_bias, out, out_stride, steps,
    dilation: tl.constexpr, bottleneck: tl.constexpr, hidden: tl.constexpr, growth: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    window = tl.program_id(0).to(tl.int64)
    step = tl.arange(0, block)
    channel = tl.arange(0, bottleneck)
    unit = tl.arange(0, hidden)
    grown = tl.arange(0, growth)
    base = inner + window * steps * bottleneck
    here = tl.load(
        base + step[:, None] * bottleneck + channel[None, :], mask=(step < steps)[:, None], other=0.0
    )
    # The mean over the window plus that over its part of 100 steps, which is all of it.
    mean = 2.0 * tl.sum(here.to(tl.float32), axis=0) / steps
    weights = tl.load(context + channel[:, None] * hidden + unit[None, :]).to(tl.float32)
    seen = tl.sum(mean[:, None] * weights, axis=0) + tl.load(context_bias + unit).to(tl.float32)
    seen = tl.maximum(seen, 0.0)
    weights = tl.load(mask + unit[:, None] * growth + grown[None, :]).to(tl.float32)
    share = tl.sigmoid(tl.sum(seen[:, None] * weights, axis=0) + tl.load(mask_bias + grown).to(tl.float32))
    taps = local + channel[:, None] * growth + grown[None, :]
    total = tl.dot(here, tl.load(taps + bottleneck * growth))
    for side in tl.static_range(2):
        other = step + (2 * side - 1) * dilation
        values = tl.load(
            base + other[:, None] * bottleneck + channel[None, :],
            mask=((other >= 0) & (other < steps))[:, None],
            other=0.0,
        )
        total += tl.dot(values, tl.load(taps + 2 * side * bottleneck * growth))
    tl.store(
        out + (window * steps + step)[:, None] * out_stride + grown[None, :],
        (total * share[None, :]).to(out.dtype.element_ty),
        mask=(step < steps)[:, None],
    )


@triton.jit(do_not_specialize=["positions"])
def _first_convolution(  # type: ignore[no-untyped-def]
    frames, weight, bias, out, positions, steps, bins: tl.constexpr, channels: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < positions
    step = at % steps
    frequency = at // steps % bins
    window = at // steps // bins
    channel = tl.arange(0, channels)
    total = tl.zeros((block, channels), tl.float32) + tl.load(bias + channel).to(tl.float32)[None, :]
    for tap in tl.static_range(9):
        f = frequency + tap // 3 - 1
        t = step + tap % 3 - 1
        value = tl.load(
            frames + (window * steps + t) * bins + f,
            mask=inside & (f >= 0) & (f < bins) & (t >= 0) & (t < steps),
            other=0.0,
        ).to(tl.float32)
        total += value[:, None] * tl.load(weight + tap * channels + channel).to(tl.float32)[None, :]
    tl.store(
        out + at[:, None] * channels + channel[None, :],
        tl.maximum(total, 0.0).to(out.dtype.element_ty),
        mask=inside[:, None],
    )


@triton.jit(do_not_specialize=["positions"])
def _convolution(  # type: ignore[no-untyped-def]
    x, weight, bias, beside, beside_weight, out, positions, steps, height, out_height,
    stride: tl.constexpr, beside_stride: tl.constexpr, has_beside: tl.constexpr, has_beside_weight: tl.constexpr,
    channels: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < positions
    step = at % steps
    frequency = at // steps % out_height
    window = at // steps // out_height
    channel = tl.arange(0, channels)
    square = channel[:, None] * channels + channel[None, :]
    total = tl.zeros((block, channels), tl.float32) + tl.load(bias + channel).to(tl.float32)[None, :]
    for tap in range(9):
        f = frequency * stride + tap // 3 - 1
        t = step + tap % 3 - 1
        values = tl.load(
            x + ((window * height + f) * steps + t)[:, None] * channels + channel[None, :],
            mask=(inside & (f >= 0) & (f < height) & (t >= 0) & (t < steps))[:, None],
            other=0.0,
        )
        total += tl.dot(values, tl.load(weight + tap * channels * channels + square))
    if has_beside:
        place = (window * out_height * beside_stride + frequency * beside_stride) * steps + step
        values = tl.load(
            beside + place[:, None] * channels + channel[None, :], mask=inside[:, None], other=0.0
        )
        if has_beside_weight:
            total += tl.dot(values, tl.load(beside_weight + square))
        else:
            total += values.to(tl.float32)
    tl.store(
        out + at[:, None] * channels + channel[None, :],
        tl.maximum(total, 0.0).to(out.dtype.element_ty),
        mask=inside[:, None],
    )


@triton.jit(do_not_specialize=["rows"])
def _time_delay(  # type: ignore[no-untyped-def]
    x, weight, bias, out, out_stride, rows, steps, out_steps, height: tl.constexpr, channels: tl.constexpr,
    columns: tl.constexpr, taps: tl.constexpr, block: tl.constexpr,
) -> None:  # fmt: skip
    row = tl.program_id(0) * block + tl.arange(0, block)
    inside = row < rows
    step = row % out_steps
    window = row // out_steps
    channel = tl.arange(0, channels)
    column = tl.arange(0, columns)
    total = tl.zeros((block, columns), tl.float32) + tl.load(bias + column).to(tl.float32)[None, :]
    for part in range(taps * height):
        t = 2 * step + part // height - taps // 2
        f = part % height
        values = tl.load(
            x + ((window * height + f) * steps + t)[:, None] * channels + channel[None, :],
            mask=(inside & (t >= 0) & (t < steps))[:, None],
            other=0.0,
        )
        square = (part * channels + channel)[:, None] * columns + column[None, :]
        total += tl.dot(values, tl.load(weight + square))
    tl.store(
        out + row[:, None] * out_stride + column[None, :],
        tl.maximum(total, 0.0).to(out.dtype.element_ty),
        mask=inside[:, None],
    )


def norm_product(
    x: Tensor, norm: tuple[Tensor, Tensor], weight: Tensor, bias: Tensor | None, out: Tensor
) -> None:
    """Write relu(x · scale + shift) @ weight to `out`; with a bias, that is added and relu taken again.

    x: (rows, channels), out: (rows, columns), both with rows that may be strided; weight: (channels, columns).
    """
    rows, columns = out.shape
    grid = (triton.cdiv(rows, _ROWS), triton.cdiv(columns, _COLUMNS))
    _norm_product[grid](
        x, x.stride(0), norm[0], norm[1], weight, weight if bias is None else bias, out, out.stride(0), rows,
        x.shape[1], columns=columns, has_bias=bias is not None, tile_rows=_ROWS, tile_columns=_COLUMNS, depth=_DEPTH,
        num_warps=8,
    )  # fmt: skip


def masked_convolution(
    inner: Tensor,
    local: Tensor,
    context: tuple[Tensor, Tensor],
    mask: tuple[Tensor, Tensor],
    out: Tensor,
    steps: int,
    dilation: int,
) -> None:
    """Write the output of a context-dependent layer to `out`.

    inner: (windows · steps, bottleneck); local: (3, bottleneck, growth); context, mask: weight (inputs, outputs) and
    bias; out: (windows · steps, growth), with rows that may be strided. `steps` ≤ 128.
    """
    bottleneck, growth = local.shape[1:]
    _masked_convolution[(inner.shape[0] // steps,)](
        inner, local, *context, *mask, out, out.stride(0), steps, dilation=dilation, bottleneck=bottleneck,
        hidden=context[0].shape[1], growth=growth, block=max(16, triton.next_power_of_2(steps)), num_warps=4,
    )  # fmt: skip


def first_convolution(frames: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolve frames (windows, steps, bins) with 3 × 3 taps (9, channels), and relu → image."""
    windows, steps, bins = frames.shape
    out = frames.new_empty(windows, bins, steps, weight.shape[1])
    positions = windows * bins * steps
    _first_convolution[(triton.cdiv(positions, _POSITIONS),)](
        frames, weight, bias, out, positions, steps, bins=bins, channels=weight.shape[1], block=_POSITIONS
    )
    return out


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    stride: int,
    beside: Tensor | None = None,
    beside_weight: Tensor | None = None,
) -> Tensor:
    """Convolve an image with 3 × 3 taps (9, channels, channels), add, and relu.

    `stride`: over frequencies, whose number it divides. `beside`: an image that is added, of as many frequencies as the
    result; or, multiplied by `beside_weight` (channels, channels), `stride` times as many, of which each `stride`-th
    one counts.
    """
    windows, height, steps, channels = x.shape
    out = x.new_empty(windows, height // stride, steps, channels)
    positions = out.numel() // channels
    of_beside = 1 if beside is None else beside.shape[1] // out.shape[1]
    _convolution[(triton.cdiv(positions, _POSITIONS),)](
        x, weight, bias, x if beside is None else beside, weight if beside_weight is None else beside_weight, out,
        positions, steps, height, out.shape[1], stride=stride, beside_stride=of_beside, has_beside=beside is not None,
        has_beside_weight=beside_weight is not None, channels=channels, block=_POSITIONS, num_warps=4,
    )  # fmt: skip
    return out


def time_delay(x: Tensor, weight: Tensor, bias: Tensor, out: Tensor, out_steps: int) -> None:
    """Convolve an image over steps, with a stride of 2, and relu; written to `out` (windows · out_steps, columns).

    weight: (taps, frequencies, channels, columns); rows of `out` may be strided.
    """
    _, height, steps, channels = x.shape
    taps, _, _, columns = weight.shape
    block = 64
    _time_delay[(triton.cdiv(out.shape[0], block),)](
        x, weight, bias, out, out.stride(0), out.shape[0], steps, out_steps, height=height, channels=channels,
        columns=columns, taps=taps, block=block, num_warps=4,
    )  # fmt: skip
