"""FSMN-VAD over many streams at once, in chunks, with the same result as for each whole recording alone.

FunASR's own streaming mode depends on the chunking, so its offline result is the reference. The exact left context of
each stream is carried from chunk to chunk (samples for filter bank and splice, FSMN states for the network), and the
end-point rules run separately, on frame numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dropscribe.engine.core.interfaces import SAMPLES_PER_MS, Pcm, Region, Vad, VadChunk
from dropscribe.engine.layers.fbank import MEL_BINS, frames_of
from dropscribe.engine.models.loading import LoadedModel, device_faults
from dropscribe.engine.protocol import SAMPLE_RATE_HZ
from dropscribe.engine.vad import endpoint_kernel
from dropscribe.engine.vad.endpoint import Endpointer, EndpointOptions, accept_each
from dropscribe.engine.vad.frame_buffer import HeldFrames
from dropscribe.engine.vad.layout import FRAME_SAMPLES, SHIFT_SAMPLES, START, Position, Splice, step
from dropscribe.engine.vad.network import FsmnNetwork
from dropscribe.engine.vad.scorer import Judged, Scorer, Threshold
from dropscribe.errors import EngineError

#: Thresholds that audio never reaches. A model with higher ones needs rules that are not implemented.
LEAST_DECIBEL, LEAST_SNR = -60.0, -90.0
NO_FRAMES = np.zeros(0, np.bool_)
SHIFT_MS = SHIFT_SAMPLES // SAMPLES_PER_MS


class FsmnVadModel:
    """A loaded `FsmnVADStreaming`, shared by all streams. The end silence is fixed to its configured value."""

    gives_frames = True

    def __init__(self, loaded: LoadedModel) -> None:
        options = getattr(loaded.module, "vad_opts", None)
        if options is None or loaded.frontend is None:
            raise EngineError(
                f"{loaded.family} is not a voice activity detector of the FSMN kind",
                operation="load VAD model",
                path=loaded.directory,
                remedy="set engine.models.vad to fsmn-vad, vad-mini or a directory that holds such a model",
            )
        frontend = loaded.frontend
        for name, value, wanted in (
            ("frontend lfr_n", frontend.lfr_n, 1),
            ("frontend n_mels", frontend.n_mels, MEL_BINS),
            ("frontend window", frontend.window, "hamming"),
            ("frontend dither", frontend.dither, 0.0),
            # Attributes of both FunASR front ends: the streaming one differs only in how it gets its input.
            ("frame length in samples", int(frontend.frame_length * frontend.fs / 1000), FRAME_SAMPLES),
            ("frame shift in samples", int(frontend.frame_shift * frontend.fs / 1000), SHIFT_SAMPLES),
            ("frontend snip_edges", frontend.snip_edges, True),
            ("frontend upsacle_samples", frontend.upsacle_samples, True),
            ("encoder rorder", loaded.module.encoder_conf.get("rorder", 0), 0),
            ("encoder lstride", loaded.module.encoder_conf.get("lstride", 1), 1),
            ("encoder use_softmax", loaded.module.encoder_conf.get("use_softmax", True), True),
            ("frame_in_ms", options.frame_in_ms, SHIFT_MS),
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
        frame = int(options.frame_in_ms)
        self._endpoint_options = EndpointOptions(
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
        self._advance = endpoint_kernel.advance if loaded.device.type == "cpu" else endpoint_kernel.compiled()
        self._splice = Splice((frontend.lfr_m - 1) // 2, frontend.lfr_m - 1 - (frontend.lfr_m - 1) // 2)
        self._scorer = Scorer(
            FsmnNetwork(loaded.module.encoder),
            Threshold(
                torch.tensor(list(options.sil_pdf_ids), device=loaded.device),
                float(options.speech_2_noise_ratio),
                float(options.speech_noise_thres),
            ),
            self._splice,
            None if frontend.cmvn is None else frontend.cmvn[:, : frontend.lfr_m * MEL_BINS],
            loaded.device,
        )

    def open(self) -> FsmnVad:
        """A detector for a new stream."""
        return FsmnVad(self, Endpointer(self._endpoint_options, self._advance), self._scorer.nothing)

    def accept(self, chunks: Sequence[VadChunk]) -> list[Sequence[Region]]:
        """See `dropscribe.engine.core.interfaces.VadModel`."""
        return self.finish(self.begin(chunks))

    def begin(self, chunks: Sequence[VadChunk]) -> _Pass:
        """See `dropscribe.engine.core.interfaces.PipelinedVad`."""
        vads = [_own(p.vad) for p in chunks]
        steps = [
            step(vad.position, p.parts, self._splice, final=p.final)
            for vad, p in zip(vads, chunks, strict=True)
        ]
        busy = [i for i, s in enumerate(steps) if s.rows]
        with device_faults():
            judged = self._scorer.judge([steps[i] for i in busy], [vads[i].memory for i in busy])
        # Nothing below can fail, so either all chunks are consumed or none.
        for vad, taken in zip(vads, steps, strict=True):
            vad.position = taken.after
        if judged is not None:
            for i, memory in zip(busy, judged.memories, strict=True):
                if memory is not None:
                    vads[i].memory = memory
        return _Pass(vads, [p.final for p in chunks], busy, judged)

    def ready(self, handle: _Pass) -> bool:
        """See `dropscribe.engine.core.interfaces.PipelinedVad`."""
        return handle.judged is None or handle.judged.ready

    def finish(self, handle: _Pass) -> list[Sequence[Region]]:
        """See `dropscribe.engine.core.interfaces.PipelinedVad`."""
        speech = [NO_FRAMES] * len(handle.vads)
        if handle.judged is not None:
            with device_faults():
                of_busy = self._scorer.speech(handle.judged)
            for i, frames, log_mel in zip(handle.busy, of_busy, handle.judged.log_mels, strict=True):
                speech[i] = frames
                handle.vads[i].held.add(log_mel)
        found: list[Sequence[Region]] = []
        spans = accept_each([vad.endpointer for vad in handle.vads], speech, handle.finals)
        for vad, own, final in zip(handle.vads, spans, handle.finals, strict=True):
            found.append([vad.region(start_ms, end_ms) for start_ms, end_ms in own])
            vad.held.forget_before(vad.held.end if final else vad.needed_from_ms // SHIFT_MS)
        return found


class FsmnVad:
    """State of one stream, changed by its model only. Owned by the worker's thread."""

    def __init__(self, model: FsmnVadModel, endpointer: Endpointer, memory: Tensor) -> None:
        self._model = model
        self.endpointer = endpointer
        self.position: Position = START
        self.memory = memory  #: state of the network, (layers, left, width) float32
        self.held = HeldFrames()

    @property
    def needed_from_ms(self) -> int:
        """See `dropscribe.engine.core.interfaces.Vad`."""
        return self.endpointer.needed_from_ms

    def accept(self, pcm: Pcm, *, final: bool) -> Sequence[Region]:
        """See `dropscribe.engine.core.interfaces.Vad`."""
        return self._model.accept([VadChunk(self, (pcm,), final)])[0]

    def region(self, start_ms: int, end_ms: int) -> Region:
        """A region with the log-mel frames that are wholly inside it and the recording."""
        first = start_ms // SHIFT_MS
        last = min(first + frames_of((end_ms - start_ms) * SAMPLES_PER_MS), self.held.end)
        return Region(start_ms, end_ms, self.held.between(first, last))


@dataclass(frozen=True, slots=True, eq=False)
class _Pass:
    """A call under way on the device. `busy`: indexes of the streams with rows, to which `judged` belongs."""

    vads: list[FsmnVad]
    finals: list[bool]
    busy: list[int]
    judged: Judged | None


def _own(vad: Vad) -> FsmnVad:
    if not isinstance(vad, FsmnVad):
        raise TypeError(f"a {type(vad).__name__} was not opened by this model")
    return vad
