"""Load and warm up models in the engine process, and choose the class that runs each.

Model families are listed in `dropscribe.engine.models.families`.
"""

from __future__ import annotations

import gc
import os
import platform
import time
import wave
from collections import deque
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np

from dropscribe import __version__
from dropscribe.config import EngineSettings
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
from dropscribe.engine.core.model_cache import FoundModel, ReadyModel
from dropscribe.engine.core.residency import Part
from dropscribe.engine.core.vad_schedule import ON_GPU, PASS_STREAMS
from dropscribe.engine.gpu_probe import count_gpus
from dropscribe.engine.layers import torch_import
from dropscribe.engine.models import store
from dropscribe.engine.models.families import Kind, kind_of
from dropscribe.engine.models.hub import client as hub
from dropscribe.engine.models.null import NullRecogniser, NullStage, NullVadModel
from dropscribe.engine.protocol import StreamOptions
from dropscribe.engine.wire import BATCHES_AHEAD
from dropscribe.errors import EngineError, OutOfDeviceMemoryError, release_traceback
from dropscribe.transcript.roles import ASR, NULL, PUNCTUATION, SPEAKERS, VAD
from dropscribe.transcript.types import EngineFacts, ModelsUsed

if TYPE_CHECKING:
    from dropscribe.engine.layers.linear.product import Factors

#: Default size of a batch on a CPU, padded audio seconds for each thread. The timestamp branch takes one step after
#: another, each for all segments that a thread has.
CPU_BATCH_S = 60.0
#: The same on CUDA; warm-up halves it until such batches fit the device's memory.
CUDA_BATCH_S = 8000.0
#: Segment lengths at warm-up, seconds: a typical one, and the longest possible.
WARM_SEGMENT_S = 8.0
#: The typical one on a CPU.
WARM_SEGMENT_CPU_S = 2.0
LONGEST_SEGMENT_S = 60.0
#: Hotwords at warm-up: 64, so that SeACo's selection of the likeliest ones runs, too.
WARM_HOTWORDS = tuple(a + b for a in "一二三四五六七八" for b in "一二三四五六七八")
WARM_OPTIONS = StreamOptions(WARM_HOTWORDS)


#: Kinds whose weights are in fp16 where that is the precision; the others stay in fp32.
_IN_HALF = frozenset({Kind.PARAFORMER, Kind.SENSE_VOICE, Kind.PUNCTUATION, Kind.SPEAKERS})
#: Factors of products where other precisions than fp16 are used.
_FACTORS: dict[str, Factors] = {"fp32": "fp32", "bf16": "bf16", "int8": "int8"}
#: Most passes of the punctuation model after a batch. On a GPU a pass takes about as long for one text as for hundreds,
#: and a text with more steps due than others can wait for the next batch.
CPU_PASSES = 1000
CUDA_PASSES = 4


class ModelLoader:
    """Load the models of one engine process. See `dropscribe.engine.core.model_cache.Loader`."""

    def __init__(self, settings: EngineSettings, note: Callable[[str], None]) -> None:
        """`note` is called with messages for the log."""
        self._settings = settings
        self._note = note
        self._threads = threads_of(settings)
        self._started = time.monotonic()
        self._device: Any = None
        #: True if the device is a GPU, as far as is known without torch.
        self.on_gpu = settings.device.startswith("cuda") or (settings.device == "auto" and count_gpus() > 0)
        #: True if weights of the kinds `_IN_HALF`, fp32 in their files, take half of that on the device.
        self._half = settings.precision == "fp16" or (settings.precision == "auto" and self.on_gpu)
        #: False once the engine is ready: batches of other models are then under way beside a warm-up.
        self.alone = True

    def find(self, part: Part) -> FoundModel:
        """Find and check the directory of a model. Fetches a model of the hub that is not on this machine."""
        if part.name == NULL:
            return FoundModel(part, 0, writes_marks=False)
        source = store.resolve(part.name, part.role, lambda name: hub.locate(name, self._note))
        kind = kind_of(source.config.family)
        marks = {Kind.SENSE_VOICE: True, Kind.AUTO_MODEL: None}.get(kind, False)
        return FoundModel(part, self._size_of(source, kind), marks, source)

    def load(self, found: FoundModel) -> ReadyModel:
        """Load a model onto the device."""
        made = self._load(found)
        if not self.alone:
            # As at the start: collections beside recordings do not visit the model's objects.
            gc.freeze()
        return made

    def _load(self, found: FoundModel) -> ReadyModel:
        part = found.part
        if part.name == NULL:
            return ReadyModel(_NULL_MODELS[part.role](), "none", NULL_NOTICE if part.role == ASR else None)
        device = self._on_device()
        source: store.ModelSource = found.source
        precision = _precision(self._settings, device)
        half = precision == "fp16"
        try:
            if part.role == VAD:
                from dropscribe.engine.models.loading import load  # noqa: PLC0415 - imports torch
                from dropscribe.engine.vad.model import FsmnVadModel  # noqa: PLC0415

                return ReadyModel(FsmnVadModel(load(source.directory, device, self._threads)))
            if part.role == PUNCTUATION:
                return ReadyModel(_punctuation(part.name, source, device, self._record, half=half))
            if part.role == SPEAKERS:
                return ReadyModel(_speakers(part.name, source, device, self._record, half=half))
            recogniser, precision = _recogniser(source, device, self._threads, precision, self._note)
            return ReadyModel(recogniser, precision, source.notice)
        finally:
            self._restore_threads()

    def warm_up(self, vad: VadModel, recogniser: Recogniser) -> float:
        """See `_warm_up`."""
        on_cpu_s = CPU_BATCH_S * self._threads
        if isinstance(recogniser, NullRecogniser):
            return self._settings.batch_s or on_cpu_s
        device = self._on_device()
        batch_s = self._settings.batch_s or (on_cpu_s if device.type == "cpu" else CUDA_BATCH_S)
        made = _warm_up(vad, recogniser, batch_s, device, full=self.alone)
        self._restore_threads()
        return made

    def unloaded(self) -> None:
        """Free the memory of unloaded models, of which cycles may be left."""
        if self.alone or self._device is None:
            return
        # Models are frozen, that is, hidden from the collector.
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        if self._device.type != "cpu":
            import torch  # noqa: PLC0415

            torch.cuda.empty_cache()

    def memory(self) -> int:
        """Memory for models: as configured, else half of the device's, or half of this machine's on a CPU."""
        if self._settings.model_memory_mb is not None:
            return self._settings.model_memory_mb << 20
        device = self._on_device()
        if device.type == "cpu":
            return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        import torch  # noqa: PLC0415

        total = torch.cuda.get_device_properties(device).total_memory
        return int(total * (self._settings.gpu_memory or 1.0) / 2)

    def facts(self, used: ModelsUsed) -> EngineFacts:
        """Facts of the engine, with the models that were loaded first."""
        warmup_s = round(time.monotonic() - self._started, 3)
        if self._device is None:
            return EngineFacts(used.models, "cpu", used.precision, _versions(), used.notice, 0.0)
        import torch  # noqa: PLC0415

        from dropscribe.engine.models.loading import describe_device  # noqa: PLC0415

        versions = _versions("torch", "funasr")
        if torch.version.cuda is not None:
            versions = tuple(sorted((*versions, ("cuda", torch.version.cuda))))
        device = describe_device(self._device)
        return EngineFacts(used.models, device, used.precision, versions, used.notice, warmup_s)

    def _record(self, name: str, record: Callable[[], None]) -> None:
        """Record the launches of a model, unless others use the device, or note that it goes on without."""
        if not self.alone:
            return
        from dropscribe.engine.models.loading import in_short  # noqa: PLC0415 - imports torch

        try:
            record()
        except RuntimeError as e:
            self._note(f"{name}: its launches cannot be recorded, so it is slower: {in_short(e)}")

    def _size_of(self, source: store.ModelSource, kind: Kind) -> int:
        """Bytes of a model's weights on the device. Raises EngineError."""
        try:
            size = source.config.weights.stat().st_size
        except OSError as e:
            raise EngineError.from_system(
                e, operation="load model", path=source.config.weights, remedy="fetch the model again"
            ) from e
        return size // 2 if self._half and kind in _IN_HALF else size

    def _on_device(self) -> Any:
        """The device, which is set up at the first call. Raises EngineError."""
        if self._device is None:
            torch_import.light()  # not for the null models
            import torch  # noqa: PLC0415

            from dropscribe.engine.models.loading import choose_device  # noqa: PLC0415

            self._device = choose_device(self._settings.device)
            if self._settings.gpu_memory is not None and self._device.type != "cpu":
                # Beyond this fraction torch raises OutOfMemoryError, which is handled as usual.
                torch.cuda.set_per_process_memory_fraction(self._settings.gpu_memory, self._device)
        return self._device

    def _restore_threads(self) -> None:
        """FunASR sets the number of threads of the whole process."""
        if self._device is not None:
            import torch  # noqa: PLC0415

            torch.set_num_threads(self._threads)


#: Null models by role.
_NULL_MODELS: dict[str, Callable[[], Any]] = {
    ASR: NullRecogniser,
    VAD: NullVadModel,
    PUNCTUATION: NullStage,
    SPEAKERS: NullStage,
}
NULL_NOTICE = "Not a transcript: made without a model, to measure everything around it."


def threads_of(settings: EngineSettings) -> int:
    """CPU threads for the model: those of the settings, else the number of cores available to this process."""
    return settings.threads or len(os.sched_getaffinity(0))


#: (name of a model, function that records its launches)
Record = Callable[[str, Callable[[], None]], None]


def _punctuation(
    name: str, source: store.ModelSource, device: Any, record: Record, *, half: bool
) -> PostprocessingStage:
    """A punctuation model as a stage, warm. Raises EngineError."""
    from dropscribe.engine.models.punctuation.model import PunctuationModel  # noqa: PLC0415 - imports torch
    from dropscribe.engine.models.punctuation.stage import Punctuation  # noqa: PLC0415

    model = PunctuationModel(source.config, device, half=half)
    model.warm_up()
    record(name, model.record)
    return Punctuation(name, model, passes=CPU_PASSES if device.type == "cpu" else CUDA_PASSES)


def _speakers(
    name: str, source: store.ModelSource, device: Any, record: Record, *, half: bool
) -> PostprocessingStage:
    """The stage that tells speakers apart, loaded and warm. Raises EngineError."""
    from dropscribe.engine.models.speakers.embedder import load_embedder  # noqa: PLC0415 - imports torch
    from dropscribe.engine.models.speakers.stage import SpeakerStage  # noqa: PLC0415

    embedder = load_embedder(source.config, device, half=half)
    embedder.warm_up()
    record(name, embedder.record)
    return SpeakerStage(embedder, name)


def _precision(settings: EngineSettings, device: Any) -> str:
    """Precision of the settings on this device, with `auto` resolved. Raises EngineError for one that it lacks."""
    if settings.precision == "auto":
        return "fp32" if device.type == "cpu" else "fp16"
    if settings.precision == "fp16" and device.type == "cpu":
        raise EngineError(
            "fp16 needs a CUDA device",
            operation="start engine",
            remedy="set engine.precision to auto or fp32",
        )
    if settings.precision in ("int8", "bf16"):
        _require_products(settings.precision, device)
    return settings.precision


def _require_products(precision: str, device: Any) -> None:
    """Raise EngineError if the device has no products in int8 or bf16."""
    from dropscribe.engine.layers.linear import bf16, int8  # noqa: PLC0415 - imports torch

    if device.type != "cpu":
        raise EngineError(
            f"{precision} is for the CPU",
            operation="start engine",
            remedy="set engine.precision to auto or fp32",
        )
    if precision == "int8" and int8.products() == "none":
        raise EngineError(
            "this processor, or this version of torch, has no products of 8 bits",
            operation="start engine",
            remedy="set engine.precision to auto or fp32",
        )
    if precision == "bf16" and not bf16.has_products():
        raise EngineError(
            "this processor has no products in bf16, or this version of torch does not use them",
            operation="start engine",
            remedy="set engine.precision to int8, auto or fp32",
        )


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
        if precision == "fp16":
            return PipelinedParaformer(loaded), precision
        return ParaformerRecogniser(loaded, threads=threads, factors=_FACTORS[precision]), precision
    if kind is Kind.SENSE_VOICE:
        loaded = load(source.directory, device, threads)
        if precision == "fp16":
            return PipelinedSenseVoice(loaded), precision
        return SenseVoiceRecogniser(loaded, threads=threads), "fp32"
    torch_import.complete()  # FunASR's own code may use all of torch
    from dropscribe.engine.models.automodel import AutoModelRecogniser  # noqa: PLC0415 - imports all of FunASR

    note(
        f"{source.config.family} runs one segment at a time through FunASR itself: slower than the Paraformer family"
    )
    return AutoModelRecogniser(source.directory, device, threads), "fp32"


def _warm_up(
    vad: VadModel, recogniser: Recogniser, batch_s: float, device: Any, *, full: bool = True
) -> float:
    """Run the models on real speech of typical shapes, so that the first job is as fast as later ones.

    On a GPU also on the longest segment and, if `full`, a full batch. Returns the size of the largest batch, padded
    seconds: `batch_s`, halved until a batch fits the device. Raises OutOfDeviceMemoryError if not even one segment fits.
    """
    speech = _sample()
    if device.type == "cpu":
        # No memory to be found and no kernels to be compiled: more speech would only take longer.
        vad.open().accept(speech[: round(WARM_SEGMENT_CPU_S * 1000) * SAMPLES_PER_MS], final=True)
        recogniser(_repeated(speech, WARM_SEGMENT_CPU_S, 2))
        return batch_s
    vad.open().accept(speech, final=True)
    recogniser(_repeated(speech, WARM_SEGMENT_S, 1))
    recogniser(_repeated(speech, WARM_SEGMENT_S, 2))
    recogniser(_repeated(speech, min(LONGEST_SEGMENT_S, batch_s), 1))
    while full and batch_s > 2 * WARM_SEGMENT_S:
        try:
            _run_full(vad, recogniser, speech, batch_s, device)
        except OutOfDeviceMemoryError as e:
            release_traceback(e)
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
    under_way: deque[object] = deque()
    try:
        for _ in range(pipeline.depth):
            under_way.append(pipeline.begin(segments))
        vad.accept([VadChunk(vad.open(), (heard,), final=True) for _ in range(PASS_STREAMS)])
        while under_way:
            pipeline.finish(under_way.popleft())
    except OutOfDeviceMemoryError:
        # Otherwise they would keep memory that a smaller batch needs.
        for handle in under_way:
            try:
                pipeline.finish(handle)
            except OutOfDeviceMemoryError as e:
                release_traceback(e)
        raise
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
