"""SeACo-Paraformer (and anything of its family) over a batch of segments, with FunASR's modules: slower than our own path.

What a segment yields does not depend on what else is in its batch, and equals FunASR's `inference` of
the segment alone: the encoder's output is set to zero beyond each segment's end, where FunASR lets the
predictor's convolution see it, and the timestamp branch reads packed sequences, where FunASR's
backward LSTM starts in the padding.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from funasr.models.bicif_paraformer.cif_predictor import cif_wo_hidden
from funasr.utils.timestamp_tools import ts_prediction_lfr6_standard
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from daemon.engine import wording
from daemon.engine.hypotheses import LEAST_SAMPLES, Span, hypothesis
from daemon.engine.loading import LoadedModel, device_faults
from daemon.engine.stages import Hypothesis, Pcm, SpeechSegment


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """Token numbers of one segment; where the model has a timestamp branch its weights and peaks, too: one
    value for each 20 ms of the segment.
    """

    ids: list[int]
    alphas: torch.Tensor | None
    peaks: torch.Tensor | None


class ModuleRecogniser:
    """One forward pass per call. Owned by the worker's thread."""

    def __init__(self, loaded: LoadedModel) -> None:
        self._module = loaded.module
        self._tokenizer = loaded.tokenizer
        self._frontend = loaded.frontend
        self._device = loaded.device
        self._predictor = loaded.module.predictor
        self._has_times = hasattr(loaded.module, "calc_predictor_timestamp") and hasattr(
            self._predictor, "get_upsample_timestamp"
        )
        self._is_seaco = hasattr(loaded.module, "_seaco_decode_with_ASF")
        self._special = {getattr(loaded.module, name, None) for name in ("eos", "sos", "blank_id")}

    def __call__(self, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        """See `daemon.engine.stages.Recogniser`."""
        long_enough = [s for s in segments if len(s.pcm) >= LEAST_SAMPLES]
        empty = [Hypothesis(s.stream, s.index, "", ()) for s in segments if len(s.pcm) < LEAST_SAMPLES]
        if not long_enough:
            return empty
        with device_faults(), torch.inference_mode():
            heard = self._forward([s.pcm for s in long_enough])
        return empty + [self._hypothesis(s, h) for s, h in zip(long_enough, heard, strict=True)]

    def _forward(self, pcms: Sequence[Pcm]) -> list[_Heard]:
        """What the model heard in each, on the CPU."""
        speech, lengths = self._features(pcms)
        hidden, hidden_lengths = self._module.encode(speech, lengths)
        if isinstance(hidden, tuple):
            hidden = hidden[0]
        inside = torch.arange(hidden.shape[1], device=hidden.device)[None] < hidden_lengths[:, None]
        hidden = hidden * inside[..., None]
        embeds, token_counts = self._module.calc_predictor(hidden, hidden_lengths)[:2]
        token_counts = token_counts.round().long()
        counts: list[int] = token_counts.tolist()
        if max(counts) < 1:
            return [_Heard([], None, None) for _ in pcms]
        scores = self._decode(hidden, hidden_lengths, embeds, token_counts)
        ids = [
            [i for i in row[:count] if i not in self._special]
            for row, count in zip(scores.argmax(-1).tolist(), counts, strict=True)
        ]
        if not self._has_times:
            return [_Heard(i, None, None) for i in ids]
        alphas, peaks = (x.cpu() for x in self._time_branch(hidden, hidden_lengths, inside, token_counts))
        ends = [n * self._predictor.upsample_times for n in hidden_lengths.tolist()]
        return [_Heard(ids[i], alphas[i, :end], peaks[i, :end]) for i, end in enumerate(ends)]

    def _features(self, pcms: Sequence[Pcm]) -> tuple[torch.Tensor, torch.Tensor]:
        """(batch, frames, dim) and frame counts, on the device."""
        features = []
        for pcm in pcms:
            wave = torch.from_numpy(pcm.astype(np.float32) / 32768.0)
            one, _ = self._frontend(wave[None], torch.tensor([len(pcm)]))
            features.append(one[0])
        lengths = torch.tensor([len(f) for f in features])
        padded = pad_sequence(features, batch_first=True)
        return padded.to(self._device), lengths.to(self._device)

    def _decode(
        self, hidden: torch.Tensor, lengths: torch.Tensor, embeds: torch.Tensor, counts: torch.Tensor
    ) -> torch.Tensor:
        """Scores (batch, tokens, vocabulary)."""
        scores: torch.Tensor
        if self._is_seaco:
            scores = self._module._seaco_decode_with_ASF(  # noqa: SLF001 - its inference() has no other name for it
                hidden, lengths, embeds, counts, hw_list=None
            )
        else:
            scores = self._module.cal_decoder_with_predictor(hidden, lengths, embeds, counts)[0]
        return scores

    def _time_branch(
        self, hidden: torch.Tensor, lengths: torch.Tensor, inside: torch.Tensor, counts: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        p = self._predictor
        if p.upsample_type != "cnn_blstm":
            _, _, alphas, peaks = self._module.calc_predictor_timestamp(hidden, lengths, counts)
            return alphas, peaks
        x = hidden.transpose(1, 2)
        if p.use_cif1_cnn:
            x = torch.relu(p.cif_conv1d(p.pad(x)))
        x = p.upsample_cnn(x).transpose(1, 2)
        packed = pack_padded_sequence(
            x, (lengths * p.upsample_times).cpu(), batch_first=True, enforce_sorted=False
        )
        x, _ = pad_packed_sequence(p.blstm(packed)[0], batch_first=True, total_length=x.shape[1])
        alphas = torch.sigmoid(p.cif_output2(x)).squeeze(-1)
        alphas = torch.relu(alphas * p.smooth_factor2 - p.noise_threshold2)
        alphas = alphas * inside.repeat_interleave(p.upsample_times, dim=1)
        alphas = alphas * (counts / alphas.sum(-1))[:, None]
        return alphas, cif_wo_hidden(alphas, p.threshold - 1e-4)

    def _hypothesis(self, segment: SpeechSegment, heard: _Heard) -> Hypothesis:
        tokens: list[str] = self._tokenizer.ids2tokens(heard.ids)
        spans = _spans(tokens, heard, segment.end_ms - segment.start_ms)
        return hypothesis(segment, tokens, spans)


def _spans(tokens: list[str], heard: _Heard, duration_ms: int) -> list[Span] | None:
    """Where each token stands, ms from the start of the segment; None if the model does not say."""
    if heard.alphas is None or heard.peaks is None:
        return None
    if not tokens:
        return []
    if not torch.isfinite(heard.alphas).all() or heard.alphas.sum() <= 0:
        return None
    # The call changes its arguments where peaks and tokens do not match in number.
    _, found = ts_prediction_lfr6_standard(heard.alphas.clone(), heard.peaks.clone(), copy.copy(tokens))
    spans: list[Span] = [(int(a), int(b)) for a, b in found[: len(tokens)]]
    missing = tokens[len(spans) :]
    if missing:
        from_ms = spans[-1][1] if spans else 0
        spans += [(t.start_ms, t.end_ms) for t in wording.spread(missing, from_ms, max(from_ms, duration_ms))]
    return spans
