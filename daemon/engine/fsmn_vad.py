"""FSMN-VAD over a stream: features, scores and end points in pieces, with the same result as in one go.

FunASR's own streaming mode depends on how the audio is cut; its offline result is what we keep to. So
the exact left context is carried from piece to piece (samples for the filter bank, frames for the
splice, FSMN memories for the network) and the end-point rules run on their own, over frame numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from funasr.utils.fbank import fbank

from daemon.engine.endpoint import Endpointer, EndpointOptions
from daemon.engine.loading import LoadedModel, device_faults
from daemon.engine.protocol import SAMPLE_RATE_HZ
from daemon.engine.stages import Pcm, Region
from daemon.errors import EngineError

#: Audio decibels never get near these; a model that asks for more needs rules we do not have.
LEAST_DECIBEL, LEAST_SNR = -60.0, -90.0


class FsmnVadModel:
    """A loaded `FsmnVADStreaming`, shared by all streams. Silence is fixed at what its config says."""

    def __init__(self, loaded: LoadedModel) -> None:
        options = getattr(loaded.module, "vad_opts", None)
        if options is None or loaded.frontend is None:
            raise EngineError(
                f"{loaded.family} is not a voice activity detector of the FSMN kind",
                operation="load VAD model",
                path=loaded.directory,
                remedy="set engine.vad_model to fsmn-vad, vad-mini or a directory that holds such a model",
            )
        frontend = loaded.frontend
        for name, value, wanted in (
            ("frontend lfr_n", frontend.lfr_n, 1),
            ("encoder rorder", loaded.module.encoder_conf.get("rorder", 0), 0),
            ("detect_mode", options.detect_mode, 1),
            ("decibel_thres below -60", options.decibel_thres <= LEAST_DECIBEL, True),
            ("snr_thres below -90", options.snr_thres <= LEAST_SNR, True),
            ("sample rate", frontend.fs, SAMPLE_RATE_HZ),
        ):
            if value != wanted:
                raise EngineError(
                    f"its configuration has {name} other than {wanted}: not supported",
                    operation="load VAD model",
                    path=loaded.directory,
                    remedy="use FunASR's official fsmn-vad",
                )
        self.encoder = loaded.module.encoder
        self.frontend = frontend
        self.device = loaded.device
        self.silence_ids = list(options.sil_pdf_ids)
        self.noise_ratio = float(options.speech_2_noise_ratio)
        self.margin = float(options.speech_noise_thres)
        self.cmvn = None if frontend.cmvn is None else frontend.cmvn.to(torch.float32)
        frame = int(options.frame_in_ms)
        self.endpoint_options = EndpointOptions(
            frame_ms=frame,
            window=int(options.window_size_ms / frame),
            speech_at=int(options.sil_to_speech_time_thres / frame),
            silence_at=int(options.speech_to_sil_time_thres / frame),
            end_silence=int((options.max_end_silence_time - options.speech_to_sil_time_thres) / frame),
            lookback=int(options.lookback_time_start_point / frame),
            lookahead=int(options.lookahead_time_end_point / frame),
            longest=int(options.max_single_segment_time / frame),
            extend=bool(options.do_extend),
        )

    def open(self) -> FsmnVad:
        """A detector for a new stream."""
        return FsmnVad(self)


class FsmnVad:
    """State of one stream. Owned by the worker's thread."""

    def __init__(self, model: FsmnVadModel) -> None:
        self._model = model
        self._endpointer = Endpointer(model.endpoint_options)
        self._samples = np.zeros(0, np.float32)  #: not yet turned into frames, or shared with the next frame
        self._frames: torch.Tensor | None = None  #: filter bank frames that later splices still need
        self._memory: dict[str, torch.Tensor] = {}  #: what the network remembers

    @property
    def needed_from_ms(self) -> int:
        return self._endpointer.needed_from_ms

    def accept(self, pcm: Pcm, *, final: bool) -> Sequence[Region]:
        """See `daemon.engine.stages.Vad`."""
        with device_faults(), torch.inference_mode():
            spliced = self._splice(self._filter_bank(pcm), final=final)
            speech = self._judge(spliced) if len(spliced) else []
        return self._endpointer.accept(speech, final=final)

    def _filter_bank(self, pcm: Pcm) -> torch.Tensor:
        """New frames (n, mels) that the samples so far complete."""
        f = self._model.frontend
        samples = np.concatenate([self._samples, pcm.astype(np.float32)])
        length, shift = f.frame_sample_length, f.frame_shift_sample_length
        count = (len(samples) - length) // shift + 1 if len(samples) >= length else 0
        self._samples = samples[count * shift :]
        if count == 0:
            return torch.zeros(0, f.n_mels)
        used = torch.from_numpy(samples[: (count - 1) * shift + length]).unsqueeze(0)
        frames: torch.Tensor = fbank(
            used,
            num_mel_bins=f.n_mels,
            frame_length=f.frame_length,
            frame_shift=f.frame_shift,
            dither=f.dither,
            energy_floor=0.0,
            window_type=f.window,
            sample_frequency=f.fs,
        )
        return frames

    def _splice(self, frames: torch.Tensor, *, final: bool) -> torch.Tensor:
        """Each frame with its neighbours, normalised: (n, lfr_m * mels). The edges are repeated frames."""
        m = self._model.frontend.lfr_m
        side = (m - 1) // 2
        if self._frames is None:
            if len(frames) == 0:
                return torch.zeros(0, self._model.frontend.n_mels * m)
            context = frames[:1].repeat(side, 1)
        else:
            context = self._frames
        known = torch.cat([context, frames])
        if final:
            known = torch.cat([known, known[-1:].repeat(m - 1 - side, 1)])
        count = len(known) - m + 1
        if count <= 0:
            self._frames = known
            return torch.zeros(0, known.shape[1] * m)
        self._frames = known[count:].clone()
        spliced = known.unfold(0, m, 1).transpose(1, 2).reshape(count, -1)
        if self._model.cmvn is not None:
            dim = spliced.shape[1]
            spliced = (spliced + self._model.cmvn[0, :dim]) * self._model.cmvn[1, :dim]
        return spliced

    def _judge(self, spliced: torch.Tensor) -> Any:
        """Whether each frame is speech: a sequence of n booleans."""
        m = self._model
        scores = m.encoder(spliced.unsqueeze(0).to(m.device), cache=self._memory)[0]
        noise = scores[:, m.silence_ids].double().sum(-1).cpu().numpy()
        speech: list[bool] = (1.0 - noise >= noise**m.noise_ratio + m.margin).tolist()
        return speech
