"""Check free disk space for database and transcripts, and free memory for decoded audio."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dropscribe.doctor.checks.record import Check, fail, ok, warning
from dropscribe.service.storage.disk_space import nearest_existing

MIB = 1024**2
#: Free space below which the check fails, bytes.
LOWEST_BYTES = 100 * MIB
#: Free space below which the check warns, bytes.
LOW_BYTES = 1024 * MIB
#: Share of the free memory that decoded audio may take without a warning; model and decoders need the rest.
ARENA_SHARE = 0.5


def check_free(name: str, path: Path, free_bytes: int) -> Check:
    """Check the free space of the disk of `path`."""
    text = f"{_size(free_bytes)} free at {path}"
    if free_bytes < LOWEST_BYTES:
        return fail(name, text, "free some space, or move it to another disk")
    if free_bytes < LOW_BYTES:
        return warning(name, text, "free some space soon")
    return ok(name, text)


def look_free(name: str, path: Path) -> Check:
    """`check_free` for the disk of `path`, which need not exist yet."""
    there = nearest_existing(path)
    try:
        stat = os.statvfs(there)
    except OSError as e:
        return fail(name, f"{there}: {e.strerror}", "make it accessible for the user of the daemon")
    return check_free(name, there, stat.f_bavail * stat.f_frsize)


def check_memory(arena_bytes: int, available_bytes: int | None) -> Check:
    """Check that the decoded audio of `service.queue_audio_s` fits into the available memory."""
    name = "memory"
    if available_bytes is None:
        return warning(name, "the available memory is not known", "see that /proc/meminfo can be read")
    text = f"{_size(arena_bytes)} for decoded audio, {_size(available_bytes)} available"
    if arena_bytes > available_bytes:
        return fail(name, text, "set a smaller service.queue_audio_s, or add memory")
    if arena_bytes > ARENA_SHARE * available_bytes:
        return warning(name, text, "set a smaller service.queue_audio_s")
    return ok(name, text)


def available_memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """Available memory, bytes: that of the machine, or of the control group if that is less; None if unknown."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", meminfo.read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        match = None
    machine = int(match[1]) * 1024 if match else None
    try:
        limit = int((cgroup / "memory.max").read_text(encoding="ascii"))
        group = max(0, limit - int((cgroup / "memory.current").read_text(encoding="ascii")))
    except (OSError, ValueError):  # no such control group, or "max": no limit
        return machine
    return group if machine is None else min(machine, group)


def _size(count: int) -> str:
    return f"{count / 1024 / MIB:.1f} GiB" if count >= 1024 * MIB else f"{count / MIB:.0f} MiB"
