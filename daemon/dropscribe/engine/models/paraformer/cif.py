"""Continuous integrate-and-fire as a cumulative sum and a matmul, and the timestamp branch.

Dong and Xu, "CIF: Continuous Integrate-and-Fire for End-to-End Speech Recognition" (2020). The weight of hidden state t
in token k is |[C(t−1), C(t)] ∩ [k, k+1]|, where C is the cumulative sum of the weights α; no loop over frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from dropscribe.engine.layers.sanm import affine

#: Firing threshold of FunASR's timestamp branch: slightly below 1, so that rounding does not suppress the last fire.
FIRE = 1.0 - 1e-4
#: A level counts as reached when the sum is this close below it, the rounding error of FunASR's single-precision sum.
#: Weights are zero in a pause: a level that rounding alone leaves unreached before one would be reached after it, and the
#: token would start there.
ROUNDING = 5e-7


class Predictor:
    """Hidden states → number of tokens, and one acoustic embedding for each."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        """`module`: FunASR's `CifPredictorV2` or `CifPredictorV3`, in evaluation mode."""
        conv = module.cif_conv1d
        self._taps = conv.weight.detach().to(dtype)
        self._taps_bias = conv.bias.detach().to(dtype)
        self._padding = tuple(module.pad.padding)
        self._output = affine(module.cif_output, torch.float32)
        self._smooth = float(module.smooth_factor)
        self._noise = float(module.noise_threshold)
        self._tail = float(module.tail_threshold)

    def weights(self, encoded: Tensor, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Weights α with the tail appended, (B, T + 1) float32, and the convolution after ReLU, (B, T, D).

        encoded: (B, T, D); keep: (B, T) bool.
        """
        inside = (encoded * keep[:, :, None].to(encoded.dtype)).transpose(1, 2)
        hidden = F.relu(F.conv1d(F.pad(inside, self._padding), self._taps, self._taps_bias)).transpose(1, 2)
        alpha = torch.sigmoid(self._output(hidden.float())).squeeze(-1)
        alpha = F.relu(alpha * self._smooth - self._noise) * keep
        alpha = F.pad(alpha, (0, 1))
        if self._tail > 0:
            tail = F.pad(keep, (1, 0), value=True) & ~F.pad(keep, (0, 1), value=False)
            alpha = alpha + tail * self._tail
        return alpha, hidden

    @staticmethod
    def embed(encoded: Tensor, keep: Tensor, alpha: Tensor, most: int) -> tuple[Tensor, Tensor]:
        """Acoustic embeddings (B, most, D) and token counts (B,) int64.

        The tail's weight belongs to the frame just after a segment's end, whose hidden state must be zero.
        """
        total = alpha.double().cumsum(dim=1)
        counts = total[:, -1].floor().long()
        return integrate(encoded * keep[:, :, None].to(encoded.dtype), total[:, :-1], most), counts


def integrate(hidden: Tensor, total: Tensor, most: int) -> Tensor:
    """Σ_t |[C(t−1), C(t)] ∩ [k, k+1]| · h(t) for k < most.

    hidden: (B, T, D); total: C, (B, T) float64. Returns (B, most, D) in hidden's precision.
    """
    k = torch.arange(most, device=total.device, dtype=total.dtype)[None, :, None]
    here = total[:, None, :]
    before = F.pad(total, (1, 0))[:, None, :-1]
    weight = (torch.minimum(here, k + 1) - torch.maximum(before, k)).clamp_(min=0.0)
    return torch.bmm(weight.to(hidden.dtype), hidden)


@dataclass(frozen=True, slots=True)
class Upsampling:
    """What the timestamp branch does before and after its recurrent network."""

    times: int  #: frames from one row
    from_conv: bool  #: its input is the predictor's convolution, not the encoder's output
    weight: Tensor  #: (times · D, D)
    bias: Tensor
    smooth: float
    noise: float

    def __call__(self, x: Tensor) -> Tensor:
        """(…, D) → (…, times, D)."""
        return F.linear(x, self.weight, self.bias).unflatten(-1, (self.times, -1))

    def alpha(self, scores: Tensor) -> Tensor:
        """Scores of the output layer → weights α."""
        return F.relu(torch.sigmoid(scores) * self.smooth - self.noise)


def upsampling(module: Any, dtype: torch.dtype) -> Upsampling:
    """Of FunASR's `CifPredictorV3`."""
    times, up = int(module.upsample_times), module.upsample_cnn
    # A transposed convolution whose stride equals its width is one matmul: (D_in) → (times · D_out).
    weight = up.weight.detach().permute(2, 1, 0).flatten(0, 1).to(dtype).contiguous()
    bias = up.bias.detach().repeat(times).to(dtype)
    return Upsampling(
        times,
        bool(module.use_cif1_cnn),
        weight,
        bias,
        float(module.smooth_factor2),
        float(module.noise_threshold2),
    )


class Timestamps:
    """Hidden states → start of each token on a 20 ms grid: the second, upsampled CIF of BiCifParaformer."""

    def __init__(self, module: Any, dtype: torch.dtype) -> None:
        """`module`: FunASR's `CifPredictorV3` with `upsample_type` "cnn_blstm" or "cnn"."""
        self._up = upsampling(module, dtype)
        self.times = self._up.times
        self._lstm = _two_directions(module.blstm, dtype) if module.upsample_type == "cnn_blstm" else None
        self._output = affine(module.cif_output2, torch.float32)

    def weights(self, encoded: Tensor, hidden: Tensor, keep: Tensor) -> Tensor:
        """Weights α of the upsampled frames, (B, T · times) float32. hidden: the predictor's convolution."""
        x = self._up(hidden if self._up.from_conv else encoded).flatten(1, 2)
        lengths = keep.sum(dim=1) * self.times
        if self._lstm is not None:
            x = _bidirectional(x, lengths, *self._lstm)
        alpha = self._up.alpha(self._output(x.float()).squeeze(-1))
        return alpha * keep.repeat_interleave(self.times, dim=1)

    @staticmethod
    def fires(alpha: Tensor, counts: Tensor, decoded: Tensor, most: int) -> Tensor:
        """Upsampled frames at which tokens start, and the one at which the last token ends.

        alpha: (B, T); counts: tokens before filtering, decoded: after, both (B,). Returns (B, most + 1) int64; entries
        after a segment's first decoded + 1 are T. As FunASR does, α is scaled to the token count, or, if that does not
        yield one fire more than there are tokens, to the token count plus one.
        """
        sums = alpha.double().sum(dim=1).clamp(min=1e-9)
        wanted = torch.where(counts == decoded + 1, counts, decoded + 1)
        total = (alpha.double() * (wanted / sums)[:, None]).cumsum(dim=1)
        levels = FIRE * torch.arange(1, most + 2, device=alpha.device, dtype=torch.float64) - ROUNDING
        return torch.searchsorted(total, levels.expand(alpha.shape[0], -1).contiguous())


def _two_directions(blstm: Any, dtype: torch.dtype) -> tuple[torch.nn.LSTM, torch.nn.LSTM]:
    def one(suffix: str) -> torch.nn.LSTM:
        lstm = torch.nn.LSTM(blstm.input_size, blstm.hidden_size, batch_first=True)
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(lstm, name).data.copy_(getattr(blstm, name + suffix).data)
        lstm = lstm.to(device=blstm.weight_ih_l0.device, dtype=dtype).eval()
        lstm.flatten_parameters()
        return lstm

    return one(""), one("_reverse")


def _bidirectional(x: Tensor, lengths: Tensor, ahead: torch.nn.LSTM, back: torch.nn.LSTM) -> Tensor:
    """Run both directions; the backward one starts at each segment's own end, so that padding does not affect it."""
    t = torch.arange(x.shape[1], device=x.device)[None, :]
    mirror = torch.where(t < lengths[:, None], lengths[:, None] - 1 - t, t)[:, :, None]
    backwards = back(x.gather(1, mirror.expand_as(x)))[0]
    return torch.cat((ahead(x)[0], backwards.gather(1, mirror.expand_as(backwards))), dim=-1)
