"""Concatenate many sample arrays into one buffer."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np

from dropscribe.engine.core.interfaces import Pcm

#: Smallest number of samples for which several threads are faster than one.
WORTH_SHARING = 1 << 20


def one_after_another(parts: Sequence[Pcm], out: Pcm) -> None:
    """Copy all parts to `out`, which has their total length."""
    np.concatenate(parts, out=out)


class Gather:
    """Concatenate with several threads: copying releases the GIL, and one core does not reach the memory bandwidth."""

    def __init__(self, threads: int) -> None:
        self._shares = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="copy")

    def __call__(self, parts: Sequence[Pcm], out: Pcm) -> None:
        """As `one_after_another`; returns after everything is copied."""
        if len(out) < WORTH_SHARING:
            one_after_another(parts, out)
            return
        #: begins[i]: number of samples before part i
        begins = np.cumsum([0, *map(len, parts)])
        cuts = np.searchsorted(begins, [len(out) * i // self._shares for i in range(self._shares + 1)])
        cuts[-1] = len(parts)
        copies = [
            self._threads.submit(one_after_another, parts[a:b], out[begins[a] : begins[b]])
            for a, b in pairwise(cuts.tolist())
            if a < b
        ]
        for copy in copies:
            copy.result()
