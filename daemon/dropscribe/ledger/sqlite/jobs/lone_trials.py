"""Decide what becomes of a recording that was worked on alone when its daemon or decoder was killed. Pure.

Recordings are parsed in child processes, so a daemon that is killed (SIGKILL, loss of power, out of memory) hardly ever
is the fault of what it worked on; nor is a decoder that another process killed. Such a death is therefore kept apart
from `attempts`: whatever had begun is next tried alone, and only deaths during such a lone trial count against it.

How safe an innocent recording is: let p be the chance that a kill at random hits a lone trial. It fails only after
`MOST_DEATHS` hits in a row, a chance of p ** 10: 0.002 % at p = 1/3, 0.1 % at p = 1/2. Three rules make it smaller still:
a death among others resets the counts (the daemon died without that recording); after a lone death the recording is
not begun until the next daemon has worked for `wait_after`, so that frequent kills hit no lone trial at all; and where no other
recording has come through since the first lone death, everything may be failing, and `MOST_DEATHS_UNPROVEN` is the limit.
"""

from __future__ import annotations

#: Wait after the first lone death, seconds; it doubles with each. Counted from when the next daemon is ready.
FIRST_WAIT_S = 2.0
#: Longest such wait, seconds.
LONGEST_WAIT_S = 60.0
#: A recording fails at this many lone deaths where another one came through since the first: five minutes of waits.
MOST_DEATHS = 10
#: It fails at this many whatever became of others, so that no recording is tried for ever: a quarter of an hour of waits.
MOST_DEATHS_UNPROVEN = 20


def wait_after(deaths: int) -> float:
    """How long to wait after so many lone deaths (1 for the first), seconds."""
    return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(deaths - 1, 16)))


def is_last(deaths: int, *, others_done: bool) -> bool:
    """Whether the recording is to fail at this lone death (1 for the first). `others_done`: since the first."""
    return deaths >= (MOST_DEATHS if others_done else MOST_DEATHS_UNPROVEN)
