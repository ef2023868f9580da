"""`dropscribe` whose engine says a known sentence for every two seconds: `python -m tests.support.scripted_engine run …`.

Each sentence is a batch of its own if `[engine] batch_s` is 1. While the file that `DROPSCRIBE_PACE` names exists, the
engine delivers as many sentences of each recording as the number in it, and waits with the next one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

#: Length of a sentence, ms.
SENTENCE_MS = 2000
#: Characters that tell the sentences of a recording apart, in their order.
MARKS = "天地玄黄宇宙洪荒日月"
#: Silence at the end of each sentence, ms, and the rate of the recordings, Hz.
GAP_MS, RATE_HZ = 100, 16_000
_ENGINE = "dropscribe-engine"


def command(pace: Path) -> tuple[str, ...]:
    """Command of such a daemon."""
    return ("env", f"DROPSCRIBE_PACE={pace}", sys.executable, "-m", "tests.support.scripted_engine")


def sentence(number: int) -> str:
    """What is said in a recording from `number` × 2 s on."""
    return f"这里有{MARKS[number % len(MARKS)]}字"


def pitch_hz(number: int) -> int:
    """Tone of the sentence of this number."""
    return 400 + 150 * number


def tones(sentences: int) -> NDArray[np.int16]:
    """Sound of a recording of so many sentences: a tone for each, mono."""
    at = np.arange(SENTENCE_MS * RATE_HZ // 1000) / RATE_HZ
    return np.concatenate(
        [(np.sin(2 * np.pi * pitch_hz(k) * at) * 9000).astype(np.int16) for k in range(sentences)]
    )


def _script() -> None:
    from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment  # noqa: PLC0415 - of the engine only
    from dropscribe.engine.models import null  # noqa: PLC0415
    from dropscribe.transcript.types import Tokens  # noqa: PLC0415

    pace = Path(os.environ["DROPSCRIBE_PACE"])
    delivered: Counter[int] = Counter()

    def allowed() -> float:
        try:
            return int(pace.read_text(encoding="ascii") or 0)
        except FileNotFoundError:
            return float("inf")

    def recognise(_: object, segments: Sequence[SpeechSegment]) -> Sequence[Hypothesis]:
        found = []
        for one in segments:
            while delivered[one.stream] >= allowed():
                time.sleep(0.05)
            delivered[one.stream] += 1
            text = sentence(one.index)
            step = (one.end_ms - one.start_ms - GAP_MS) // len(text)
            starts = [one.start_ms + i * step for i in range(len(text))]
            tokens = Tokens(tuple(text), starts, [start + step for start in starts])
            found.append(Hypothesis(one.stream, one.index, text, tokens))
        return found

    vars_of: object = null.NullRecogniser
    setattr(vars_of, "__call__", recognise)  # noqa: B010 - a method is replaced
    setattr(null, "REGION_MS", SENTENCE_MS)  # noqa: B010


if __name__ == "__main__":
    from dropscribe.cli.app import main

    main()
elif __name__ == "__mp_main__" and multiprocessing.current_process().name == _ENGINE:
    _script()
