"""How the sequences of a batch lie in a tensor: padded to the longest, or one after another.

What mixes positions (attention, memory blocks) depends on it; all else is computed for each position alone. For each
sequence both give what it gives alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, Self, TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

L = TypeVar("L", bound="Layout")


class Layout(Protocol):
    """Places of sequences in a tensor."""

    def positioned(self, x: Tensor, table: Tensor) -> Tensor:
        """X plus the row of `table`, (longest, channels), for the position of each row in its sequence."""

    def remember(self, x: Tensor, taps: Tensor, left: int) -> Tensor:
        """Depthwise convolution over each sequence, with zeros beyond its ends.

        taps: (channels, 1, kernel), `left` of them before the current position. Rows of padding are undefined, finite.
        """

    def attend(self, q: Tensor, k: Tensor, v: Tensor, answering: Self, heads: int) -> Tensor:
        """Scaled dot product attention of each sequence to that of `answering` with the same number.

        q lies as this layout says, k and v as `answering`. Rows of padding are undefined, finite.
        """

    @property
    def longest(self) -> int:
        """Positions of the longest sequence."""


class Padded:
    """(batch, time, channels)."""

    def __init__(self, keep: Tensor) -> None:
        """keep: (batch or 1, time) bool, true inside a sequence."""
        self._inside = keep[:, :, None].float()
        self._mask = keep[:, None, None, :]

    @property
    def longest(self) -> int:
        """See `Layout`."""
        return self._inside.shape[1]

    def positioned(self, x: Tensor, table: Tensor) -> Tensor:
        """See `Layout`."""
        return x + table

    def remember(self, x: Tensor, taps: Tensor, left: int) -> Tensor:
        """See `Layout`."""
        return _convolved(x, self._inside.to(x.dtype), taps, left)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, answering: Padded, heads: int) -> Tensor:
        """See `Layout`. k, v: (B or 1, T, D)."""
        keys, values = (split(x, heads).expand(q.shape[0], -1, -1, -1) for x in (k, v))
        out = F.scaled_dot_product_attention(split(q, heads), keys, values, attn_mask=answering._mask)
        return out.transpose(1, 2).flatten(2)


class Joined:
    """(rows, channels): one sequence after another, with rows of padding between them and none at the ends.

    So nothing is computed for padding to the longest, and attention needs no mask. For CPUs: each sequence is attended
    to by calls of its own.
    """

    def __init__(self, lengths: Sequence[int], gap: int) -> None:
        """`gap`: rows between two sequences, as many as any memory block reaches at least."""
        self.bounds: list[tuple[int, int]] = []
        first = 0
        for length in lengths:
            self.bounds.append((first, first + length))
            first += length + gap
        self.rows = max(0, first - gap)
        self._inside = torch.zeros(self.rows, 1)
        self._places = torch.zeros(self.rows, dtype=torch.int64)
        for a, b in self.bounds:
            self._inside[a:b] = 1.0
            torch.arange(b - a, out=self._places[a:b])
        self.longest = max(lengths, default=0)

    def spread(self, packed: Tensor) -> Tensor:
        """Rows of all sequences, concatenated → this layout, with zeros between them."""
        if packed.shape[0] == self.rows:
            return packed
        made = packed.new_zeros(self.rows, packed.shape[1])
        first = 0
        for a, b in self.bounds:
            made[a:b] = packed[first : first + b - a]
            first += b - a
        return made

    def of_each(self, x: Tensor) -> list[Tensor]:
        """Rows of each sequence."""
        return [x[a:b] for a, b in self.bounds]

    def positioned(self, x: Tensor, table: Tensor) -> Tensor:
        """See `Layout`."""
        return x + table[self._places]

    def remember(self, x: Tensor, taps: Tensor, left: int) -> Tensor:
        """See `Layout`."""
        return _convolved(x[None], self._inside.to(x.dtype)[None], taps, left)[0]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, answering: Joined, heads: int) -> Tensor:
        """See `Layout`."""
        made = q.new_zeros(q.shape)
        for (a, b), (c, d) in zip(self.bounds, answering.bounds, strict=True):
            if a == b:
                continue
            asked, keys, values = (split(x[None], heads) for x in (q[a:b], k[c:d], v[c:d]))
            out = F.scaled_dot_product_attention(asked, keys, values)
            made[a:b].unflatten(1, (heads, -1)).copy_(out[0].transpose(0, 1))
        return made


def _convolved(x: Tensor, inside: Tensor, taps: Tensor, left: int) -> Tensor:
    """Depthwise convolution over time, (batch, time, channels); inside: (batch, time, 1), 0 in padding."""
    batch, time, channels = x.shape
    padded = x.new_zeros(batch, time + taps.shape[-1] - 1, channels)
    torch.mul(x, inside, out=padded[:, left : left + time])
    # In two dimensions, since oneDNN takes channels last only then; the other order takes ten times as long.
    made = F.conv2d(padded[:, None].permute(0, 3, 1, 2), taps[:, :, None], groups=channels)
    return made.permute(0, 2, 3, 1)[:, 0]


def split(x: Tensor, heads: int) -> Tensor:
    """(B, T, D) → (B, heads, T, D / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)
