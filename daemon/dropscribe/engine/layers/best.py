"""Best token of each position and its probability."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

#: Step of a stored probability: one byte.
STEPS = 255


@dataclass(frozen=True, slots=True)
class Best:
    """The token with the highest score at each position."""

    ids: Tensor  #: int64
    sure: Tensor  #: its probability among all tokens, in 255ths, uint8

    def rows(self, which: list[int] | slice) -> Best:
        """Those of some rows of the first dimension."""
        return Best(self.ids[which], self.sure[which])

    def where(self, condition: Tensor, other: Best) -> Best:
        """These where `condition` is true, those of `other` elsewhere."""
        return Best(
            torch.where(condition, self.ids, other.ids), torch.where(condition, self.sure, other.sure)
        )


def best_of(scores: Tensor) -> Best:
    """Best tokens of logits (..., vocabulary) in float32, which are overwritten: they are large.

    The probability is the softmax of the best score, 1 / sum(exp(score - best)).
    """
    highest, ids = scores.max(dim=-1)
    share = scores.sub_(highest.unsqueeze(-1)).exp_().sum(dim=-1).reciprocal()
    return Best(ids, in_steps(share))


def in_steps(share: Tensor) -> Tensor:
    """Probabilities as they are stored, uint8."""
    return (share * STEPS).round().to(torch.uint8)
