"""Load and warm up the models of the engine process, and choose the class that runs each.

Model families are listed in `dropscribe.engine.models.families`.
"""

from __future__ import annotations

import os
import platform
import time
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from dropscribe import __version__
from dropscribe.config import EngineSettings
from dropscribe.engine.core.deferred_stage import DeferredStage
from dropscribe.engine.core.interfaces import (
    SAMPLES_PER_MS,
    Pcm,
    Pipelined,
    PostprocessingStage,
    Recogniser,
    SpeechSegment,
    VadChunk,
    VadModel,
    WholeBatch,
)
from dropscribe.engine.core.vad_schedule import ON_GPU, PASS_STREAMS
from dropscribe.engine.layers.torch_import import leave_out_compiler
from dropscribe.engine.models import store
from dropscribe.engine.models.families import Kind, kind_of
from dropscribe.engine.models.hub import client as hub
from dropscribe.engine.models.null import NullRecogniser, NullStage, NullVadModel
from dropscribe.engine.protocol import StreamOptions
from dropscribe.engine.wire import BATCHES_AHEAD
from dropscribe.errors import EngineError, OutOfDeviceMemoryError
from dropscribe.transcript.roles import ASR, PUNCTUATION, SPEAKERS, VAD
from dropscribe.transcript.types import EngineFacts

#: Default size of a batch on a CPU, padded audio seconds.
CPU_BATCH_S = 60.0
#: The same on CUDA; warm-up halves it until such batches fit the device's memory.
CUDA_BATCH_S = 4000.0
#: Segment lengths at warm-up, seconds: a typical one, and the longest possible.
WARM_SEGMENT_S = 8.0
#: The typical one on a CPU.
WARM_SEGMENT_CPU_S = 2.0
LONGEST_SEGMENT_S = 60.0
#: Hotwords at warm-up: 64, so that SeACo's selection of the likeliest ones runs, too.
WARM_HOTWORDS = tuple(a + b for a in "一二三四五六七八" for b in "一二三四五六七八")
WARM_OPTIONS = StreamOptions(WARM_HOTWORDS)


#: Most passes of the punctuation model after a batch. On a GPU a pass takes about as long for one text as for hundreds,
#: and a text with more steps due than others can wait for the next batch.
CPU_PASSES = 1000
CUDA_PASSES = 4


@dataclass(frozen=True, slots=True)
class LoadedModels:
    """The loaded models and stages of an engine. `batch_s`: largest batch, padded audio seconds.

    `stages_beside`: run each stage on a thread of its own. Not on a CPU, all of which the recogniser takes.
    """

    vad: VadModel
    recogniser: Recogniser
    facts: EngineFacts
    batch_s: float
    stages: tuple[PostprocessingStage, ...] = ()
    stages_beside: bool = False


def assemble(settings: EngineSettings, note: Callable[[str], None]) -> LoadedModels:
    """Load the models of the settings and warm them up; `note` is called with messages for the log.

    Raises EngineError.
    """
    started = time.monotonic()
    if settings.models.asr == store.NULL:
        facts = EngineFacts(
            tuple((role, store.NULL) for role, _ in settings.models.by_role()),
            "cpu",
            "none",
            _versions(),
            "Not a transcript: made without a model, to measure everything around it.",
            0.0,
        )
        return LoadedModels(
            NullVadModel(),
            NullRecogniser(),
            facts,
            settings.batch_s or CPU_BATCH_S,
            (NullStage(),),
            stages_beside=True,
        )
    return _assemble_real(settings, note, started)


def threads_of(settings: EngineSettings) -> int:
    """CPU threads for the model: those of the settings, else the number of cores available to this process."""
    return settings.threads or len(os.sched_getaffinity(0))


def _assemble_real(settings: EngineSettings, note: Callable[[str], None], started: float) -> LoadedModels:
    def fetch(name: str) -> Path:
        return hub.locate(name, note)

    # All directories are checked before torch is imported, so that a wrong one is reported at once.
    sources = {
        role: store.resolve(name, role, fetch)
        for role, name in settings.models.by_role()
        if role != PUNCTUATION
    }
    source = sources[ASR]
    kind = kind_of(source.config.family)
    punctuation = {
        name: store.resolve(name, PUNCTUATION, fetch) for name in _punctuation_models(settings, kind)
    }
    if kind is not Kind.AUTO_MODEL:  # FunASR's own code may use all of torch
        leave_out_compiler()
    import torch  # noqa: PLC0415 - not for the null models

    from dropscribe.engine.models.loading import choose_device, describe_device, load  # noqa: PLC0415
    from dropscribe.engine.vad.model import FsmnVadModel  # noqa: PLC0415

    device = choose_device(settings.device)
    if settings.gpu_memory is not None and device.type != "cpu":
        # Beyond this fraction torch raises OutOfMemoryError, which is handled as usual.
        torch.cuda.set_per_process_memory_fraction(settings.gpu_memory, device)
    threads = threads_of(settings)
    vad = FsmnVadModel(load(sources[VAD].directory, device, threads))
    precision = _precision(settings, device)
    recogniser, precision = _recogniser(source, device, threads, precision, note)
    at_start = settings.speakers_at_start or device.type != "cpu"
    stages = [_speakers(sources[SPEAKERS], device, half=precision == "fp16", at_start=at_start)]
    torch.set_num_threads(threads)
    batch_s = settings.batch_s or (CPU_BATCH_S if device.type == "cpu" else CUDA_BATCH_S)
    if punctuation:
        # Models that run through FunASR itself may write marks, so only profiles that name a model have it used.
        default = settings.models.punctuation if kind is Kind.PARAFORMER else ""
        stages.append(_punctuation(punctuation, default, device, half=precision == "fp16"))
    # Last, since it looks for the largest batch that fits beside all models.
    batch_s = _warm_up(vad, recogniser, batch_s, device)
    versions = _versions("torch", "funasr")
    if torch.version.cuda is not None:
        versions = tuple(sorted((*versions, ("cuda", torch.version.cuda))))
    facts = EngineFacts(
        tuple((role, name) for role, name in settings.models.by_role() if role != PUNCTUATION or punctuation),
        describe_device(device),
        precision,
        versions,
        source.notice,
        round(time.monotonic() - started, 3),
    )
    return LoadedModels(vad, recogniser, facts, batch_s, tuple(stages), device.type != "cpu")


def _punctuation_models(settings: EngineSettings, kind: Kind) -> tuple[str, ...]:
    """Punctuation models to load; none for a recogniser that writes marks itself."""
    return () if kind is Kind.SENSE_VOICE else settings.punctuation_models


def _punctuation(
    sources: Mapping[str, store.ModelSource], default: str, device: Any, *, half: bool
) -> PostprocessingStage:
    """The punctuation stage with its models loaded and warm. Raises EngineError."""
    from dropscribe.engine.models.punctuation.model import PunctuationModel  # noqa: PLC0415 - imports torch
    from dropscribe.engine.models.punctuation.stage import Punctuation  # noqa: PLC0415

    models = {name: PunctuationModel(source.config, device, half=half) for name, source in sources.items()}
    for model in models.values():
        model.warm_up()
    return Punctuation(models, default, passes=CPU_PASSES if device.type == "cpu" else CUDA_PASSES)


def _speakers(source: store.ModelSource, device: Any, *, half: bool, at_start: bool) -> PostprocessingStage:
    """The stage that tells speakers apart, loaded and warm, or loaded when it is needed. Raises EngineError."""
    from dropscribe.engine.models.speakers.stage import SpeakerStage  # noqa: PLC0415 - imports torch

    def load() -> PostprocessingStage:
        from dropscribe.engine.models.speakers.embedder import load_embedder  # noqa: PLC0415 - imports torch

        embedder = load_embedder(source.config, device, half=half)
        embedder.warm_up()
        return SpeakerStage(embedder)

    return load() if at_start else DeferredStage(SpeakerStage.name, SpeakerStage.wants, load)


def _precision(settings: EngineSettings, device: Any) -> str:
    """Precision of the settings on this device, with `auto` resolved. Raises EngineError for fp16 on a CPU."""
    if settings.precision == "auto":
        return "fp32" if device.type == "cpu" else "fp16"
    if settings.precision == "fp16" and device.type == "cpu":
        raise EngineError(
            "fp16 needs a CUDA device",
            operation="start engine",
            remedy="set engine.precision to auto or fp32",
        )
    return settings.precision


def _recogniser(
    source: store.ModelSource, device: Any, threads: int, precision: str, note: Callable[[str], None]
) -> tuple[Recogniser, str]:
    """The recogniser, and its actual precision."""
    from dropscribe.engine.models.loading import load  # noqa: PLC0415
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser, PipelinedParaformer  # noqa: PLC0415
    from dropscribe.engine.models.sense_voice.recogniser import PipelinedSenseVoice, SenseVoiceRecogniser  # noqa: PLC0415

    kind = kind_of(source.config.family)
    if kind is Kind.PARAFORMER:
        loaded = load(source.directory, device, threads)
        made = PipelinedParaformer(loaded) if precision == "fp16" else ParaformerRecogniser(loaded)
        return made, precision
    if kind is Kind.SENSE_VOICE:
        loaded = load(source.directory, device, threads)
        return (PipelinedSenseVoice if precision == "fp16" else SenseVoiceRecogniser)(loaded), precision
    from dropscribe.engine.models.automodel import AutoModelRecogniser  # noqa: PLC0415 - imports all of FunASR

    note(
        f"{source.config.family} runs one segment at a time through FunASR itself: slower than the Paraformer family"
    )
    return AutoModelRecogniser(source.directory, device, threads), "fp32"


def _warm_up(vad: VadModel, recogniser: Recogniser, batch_s: float, device: Any) -> float:
    """Run the models on real speech of typical shapes, so that the first job is as fast as later ones.

    On a GPU also on the longest segment and a full batch. Returns the size of the largest batch, padded seconds:
    `batch_s`, halved until a batch fits the device. Raises OutOfDeviceMemoryError if not even one segment fits.
    """
    speech = _sample()
    vad.open().accept(speech, final=True)
    if device.type == "cpu":
        # No memory to be found and no kernels to be compiled: long segments would only take longer.
        recogniser(_repeated(speech, WARM_SEGMENT_CPU_S, 2))
        return batch_s
    recogniser(_repeated(speech, WARM_SEGMENT_S, 1))
    recogniser(_repeated(speech, WARM_SEGMENT_S, 2))
    recogniser(_repeated(speech, min(LONGEST_SEGMENT_S, batch_s), 1))
    while batch_s > 2 * WARM_SEGMENT_S:
        try:
            _run_full(vad, recogniser, speech, batch_s, device)
        except OutOfDeviceMemoryError:
            batch_s /= 2
        else:
            break
    return batch_s


def _run_full(vad: VadModel, recogniser: Recogniser, speech: Pcm, batch_s: float, device: Any) -> None:
    """Use as much device memory as under full load; raises OutOfDeviceMemoryError if it does not fit.

    Under full load there are `depth` batches under way, log-mel frames of `BATCHES_AHEAD` batches, and a VAD pass of
    the largest size.
    """
    from dropscribe.engine.layers.fbank import room_for  # noqa: PLC0415
    from dropscribe.engine.models.loading import device_faults  # noqa: PLC0415 - imports torch

    segments = _repeated(speech, WARM_SEGMENT_S, int(batch_s / WARM_SEGMENT_S))
    heard = np.resize(speech, ON_GPU.of_one)
    with device_faults():
        ahead = room_for(BATCHES_AHEAD * sum(s.audio_s for s in segments), device)
    pipeline = recogniser if isinstance(recogniser, Pipelined) else WholeBatch(recogniser)
    handles = [pipeline.begin(segments) for _ in range(pipeline.depth)]
    vad.accept([VadChunk(vad.open(), (heard,), final=True) for _ in range(PASS_STREAMS)])
    for handle in handles:
        pipeline.finish(handle)
    del ahead


def _repeated(speech: Pcm, seconds: float, count: int) -> list[SpeechSegment]:
    samples = np.resize(speech, round(seconds * 1000) * SAMPLES_PER_MS)
    end_ms = round(seconds * 1000)
    return [SpeechSegment(-1, i, 0, end_ms, len(samples), 0.0, WARM_OPTIONS, samples) for i in range(count)]


def _sample() -> Pcm:
    with wave.open(str(store.SAMPLE), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.dtype("<i2")).astype(np.int16)


def _versions(*packages: str) -> tuple[tuple[str, str], ...]:
    found = {name: version(name) for name in packages}
    return tuple(sorted({"dropscribe": __version__, "python": platform.python_version(), **found}.items()))
