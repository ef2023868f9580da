"""Decide whether a recording fails after its daemon or decoder was killed during a lone trial. Pure policy.

Recordings are parsed in child processes, so the kill of a daemon (SIGKILL, power loss, out of memory) is rarely caused by a
recording, and neither is that of a decoder by another process. Such a death is therefore not counted in `attempts`.
Recordings whose decoding had begun are isolated: tried alone next. Only deaths during such a lone trial count.

A harmless recording is safe: let p be the probability that a random kill hits its lone trial. It fails after
`MOST_DEATHS` hits in a row, with probability p ** 10: 0.002 % at p = 1/3, 0.1 % at p = 1/2. Three rules reduce this
further. A death while others were worked on resets the counts, because the daemon died without that recording. After a
lone death the recording is not begun until the next daemon has worked for `wait_after`, so frequent kills hit no lone
trial. While no other recording was finished since the first lone death, everything may be failing, and the limit
is `MOST_DEATHS_UNPROVEN`.
"""

from __future__ import annotations

#: Delay after the first lone death, seconds, from when the next daemon is ready; it doubles with each death.
FIRST_WAIT_S = 2.0
#: Longest such delay, seconds.
LONGEST_WAIT_S = 60.0
#: Lone deaths at which a recording fails when another one was finished since the first: five minutes of delays.
MOST_DEATHS = 10
#: Lone deaths at which a recording fails in any case, so that none is tried for ever: a quarter of an hour of delays.
MOST_DEATHS_UNPROVEN = 20


def wait_after(deaths: int) -> float:
    """Delay after this many lone deaths (1 for the first), seconds."""
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(deaths - 1, 16)))


def is_last(deaths: int, *, others_done: bool) -> bool:
    """True when the recording fails at this lone death (1 for the first).

    `others_done`: another recording was finished since the first.
    """
    return deaths >= (MOST_DEATHS if others_done else MOST_DEATHS_UNPROVEN)
