"""`dropscribe` with an engine that needs no model and says as much as people do: `python benchmarks/talking_daemon.py run …`.

With the null models it answers at once and speaks --speed times real time at most (the environment variable
DROPSCRIBE_BENCH_SPEED; 0: as fast as it can). A region of speech lasts `REGION_MS` and has `TOKENS` tokens with times and
confidence. Scheduler, batches, messages and all other processes are the real ones.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
import time
from pathlib import Path

#: 40 regions with 1,360 tokens in 5 minutes.
REGION_MS, TOKENS = 7_500, 34
SPEED = "DROPSCRIBE_BENCH_SPEED"
#: Number of cores that the daemon is made to believe in, for its number of processes and threads; 0: as it finds.
CORES = "DROPSCRIBE_BENCH_CORES"
TEXT = "今天我们讨论新的计划首先请各位看一下上个月的数据然后再说明年的预算安排和人员的变动情况大家有什么意见都可以提出来"
#: Multiprocessing name of the engine.
_ENGINE = "dropscribe-engine"


def _talk() -> None:
    from collections.abc import Sequence  # noqa: PLC0415 - of the engine process only

    from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment  # noqa: PLC0415 - the same
    from dropscribe.engine.models import null  # noqa: PLC0415 - the same
    from dropscribe.transcript.types import Tokens  # noqa: PLC0415 - the same

    speed = float(os.environ.get(SPEED, "0"))
    said = TEXT * 2

    def recognise(_: object, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        if speed:
            time.sleep(sum(s.audio_s for s in segments) / speed)
        return [_hypothesis(s) for s in segments]

    def _hypothesis(segment: SpeechSegment) -> Hypothesis:
        at = (segment.stream * 31 + segment.index * 7) % len(TEXT)
        text = said[at : at + TOKENS]
        step = (segment.end_ms - segment.start_ms) // TOKENS
        starts = [segment.start_ms + i * step for i in range(TOKENS)]
        sure = bytes(180 + (at * 7 + i * 13) % 76 for i in range(TOKENS))
        tokens = Tokens(text, starts, [start + step - 20 for start in starts], sure)
        return Hypothesis(segment.stream, segment.index, text, tokens)

    null.REGION_MS = REGION_MS
    of_class: object = null.NullRecogniser
    setattr(of_class, "__call__", recognise)  # noqa: B010 - a method is replaced


def _name_threads() -> None:
    """Give threads their names in /proc, too, as Python does from 3.14 on."""
    begin = vars(threading.Thread)["_bootstrap_inner"]

    def named(thread: threading.Thread) -> None:
        with contextlib.suppress(OSError):
            Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(thread.name[:15])
        begin(thread)

    of_class: object = threading.Thread
    setattr(of_class, "_bootstrap_inner", named)  # noqa: B010 - a method is replaced


def _pretend_cores() -> None:
    from dropscribe.pipeline import sizing  # noqa: PLC0415 - of the daemon only

    count = int(os.environ.get(CORES, "0"))
    if count:
        sizing.cores = lambda: count


if __name__ == "__main__":
    _pretend_cores()
    _name_threads()
    from dropscribe.cli.app import main

    main()
elif __name__ == "__mp_main__" and multiprocessing.current_process().name == _ENGINE:
    _talk()
