"""Main function of the engine process: load and warm up models, report ready, run until the parent is gone."""

from __future__ import annotations

import gc
import logging
import mmap
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import NoReturn

from dropscribe import children, escapes
from dropscribe.children import InheritedFd
from dropscribe.config import EngineSettings
from dropscribe.engine import own_gpu
from dropscribe.engine.gpu_probe import count_gpus
from dropscribe.engine.ipc import PipeInbox, PipeOutbox
from dropscribe.engine.protocol import PcmBlock
from dropscribe.engine.wire import Held, Note, Ready, Refused
from dropscribe.errors import EngineDiedError, EngineError
from dropscribe.transcript.roles import NULL

#: Capacity of oneDNN's cache of compiled primitives, shapes: enough for a few batches of each length.
SHAPES_KEPT = 128
#: Allocated objects between two runs of the garbage collector.
GARBAGE = 100_000
#: Longest time for which a thread keeps the GIL while others wait, seconds. Threads that take turns do not compete for it
#: (`dropscribe.engine.core.turns`); of the others each does sooner what it has to do if it is not interrupted all the time. 2 ms
#: gave 7 % more than 0.1 ms on an H200, before there were turns.
SWITCH_S = 0.002
#: Longest time for sending the last messages, seconds.
LAST_WORDS_S = 5.0
#: Exit status after a device fault: the service starts another process.
DEVICE_LOST = 70


@dataclass(frozen=True, slots=True)
class SharedArena:
    """The arena, in a form that can be passed to the engine process."""

    fd: InheritedFd
    size_bytes: int

    def map(self, *, shared_with_device: bool) -> mmap.mmap:
        """Map the memory, read-only unless a device is to read it, too: CUDA accepts writable memory only."""
        writable = mmap.PROT_WRITE if shared_with_device else 0
        return mmap.mmap(self.fd.fd, self.size_bytes, prot=mmap.PROT_READ | writable)


def main(settings: EngineSettings, arena: SharedArena, commands: Connection, reports: Connection) -> None:
    """Entry point of the spawned process; the process exits when its parent is gone, or on failure."""
    children.set_up("ds-engine")
    _silence_libraries()
    inbox = PipeInbox(commands)
    inbox.start()
    outbox = PipeOutbox(reports)
    outbox.start()
    try:
        _serve(settings, arena, inbox, outbox)
    finally:
        outbox.finish(LAST_WORDS_S)


def _serve(settings: EngineSettings, arena: SharedArena, inbox: PipeInbox, outbox: PipeOutbox) -> None:
    # Here, because the parent imports this module, too, and needs none of them.
    import numpy as np  # noqa: PLC0415

    from dropscribe.engine import registry  # noqa: PLC0415
    from dropscribe.engine.core.interfaces import Pcm  # noqa: PLC0415
    from dropscribe.engine.core.model_cache import ModelCache  # noqa: PLC0415
    from dropscribe.engine.core.postprocess import Postprocessing, Postprocessor  # noqa: PLC0415
    from dropscribe.engine.core.postprocess_threads import PostprocessingThreads  # noqa: PLC0415
    from dropscribe.engine.core.routing import Router  # noqa: PLC0415

    own = own_gpu.show_only(settings.device, os.environ, count_gpus)
    settings = settings.model_copy(update={"device": own.torch_name})

    def note(text: str) -> None:
        outbox.say(Note(text))

    loader = registry.ModelLoader(settings, note)
    memory = arena.map(shared_with_device=loader.on_gpu)
    samples = memoryview(memory).toreadonly()

    def read(block: PcmBlock) -> Pcm:
        return np.frombuffer(samples, np.dtype("<i2"), block.samples, block.offset)

    cache = ModelCache(loader, clock=time.monotonic, note=note)
    # Beside the scheduler, but not on a CPU, all of which the recogniser takes.
    beside = loader.on_gpu or settings.models.asr == NULL
    postprocessor: Postprocessing = (
        PostprocessingThreads((), note, inbox.wake) if beside else Postprocessor((), note)
    )
    router = Router(
        cache,
        loader,
        default=settings.default_set,
        max_wait_s=settings.max_wait_ms / 1000,
        read=read,
        send=outbox.say,
        clock=time.monotonic,
        note=note,
        postprocessor=postprocessor,
    )
    try:
        used, batch_s = router.preload(settings.sets)
    except EngineDiedError as e:
        _end_with_the_device(outbox, e)
    except EngineError as e:
        path = None if e.path is None else str(e.path)
        outbox.say(Refused(e.reason, e.operation, path, e.remedy))
        sys.exit(1)
    except Exception as e:
        sys.stderr.write(escapes.lines(traceback.format_exc()))
        reason = f"{type(e).__name__}: {e}"
        remedy = "look at what stands above this on standard error or in the journal, and report it"
        outbox.say(Refused(reason, "start engine", None, remedy))
        sys.exit(1)
    if loader.on_gpu:
        _share_with_device(memory, note)
    loader.alone = False
    cache.go_on_in_background()
    facts = loader.facts(used)
    outbox.say(Held(cache.held()))
    outbox.say(Ready(replace(facts, device=own.rename(facts.device)), batch_s))
    # Models are rarely freed, and later objects are freed by reference counting: without this, the garbage collector
    # would take most of the host's time.
    gc.freeze()
    gc.set_threshold(GARBAGE, 20, 20)
    sys.setswitchinterval(SWITCH_S)
    try:
        router.run(inbox)
    except EngineDiedError as e:
        _end_with_the_device(outbox, e)


def _share_with_device(memory: mmap.mmap, note: Callable[[str], None]) -> None:
    """Let the GPU read the arena itself, so that the thread that launches its work need not wait for copies."""
    import numpy as np  # noqa: PLC0415

    from dropscribe.engine.layers import transfer  # noqa: PLC0415 - imports torch

    refused = transfer.share(np.frombuffer(memory, np.uint8))
    if refused is not None:
        note(
            f"the GPU cannot read the decoders' memory ({refused}); samples are copied for it, which is slower"
        )


def _end_with_the_device(outbox: PipeOutbox, error: EngineDiedError) -> NoReturn:
    """Report a device fault and end the process without unwinding, which would use the device again."""
    outbox.say(Note(f"the device failed: {error.reason}"))
    outbox.finish(LAST_WORDS_S)
    os._exit(DEVICE_LOST)


def _silence_libraries() -> None:
    """Suppress standard output and log of libraries, and set the environment variables that they read at import.

    Only the parent writes the log. FunASR prints, logs through the root logger and draws progress bars; its errors are
    exceptions. Standard error stays open for crashes.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)
    os.environ["TQDM_DISABLE"] = "1"
    # Read when torch loads OpenMP. By default its idle threads spin; if decoders or a second model use the same cores,
    # a batch then takes up to twenty times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # CUDA's streams share eight queues by default: a stage's kernels would wait behind those of a stream that they do not
    # depend on, such as the thousands of the timestamps.
    os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
    # Likewise for oneDNN, which by default keeps compiled code for the last 1024 shapes, hundreds of megabytes.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(SHAPES_KEPT))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    logging.getLogger().addHandler(logging.NullHandler())
