"""Drop root's right to read and write everything, in this thread or for a command."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

AS_ROOT = os.geteuid() == 0
#: Command prefix that drops the right for a command.
COMMAND = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if AS_ROOT else []
#: CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, as bits of the first word.
_RIGHTS = 1 << 1 | 1 << 2
_VERSION_3 = 0x20080522


@contextlib.contextmanager
def powerless() -> Iterator[None]:
    """Without the right in this thread, if it has it: files of others are closed to it."""
    if not AS_ROOT:
        yield
        return
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    # Effective, permitted, inheritable; twice for 64 capabilities.
    before = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, before) == 0
    dropped = (ctypes.c_uint32 * 6)(*before)
    dropped[0] &= ~_RIGHTS
    assert libc.capset(header, dropped) == 0
    try:
        yield
    finally:
        assert libc.capset(header, before) == 0
