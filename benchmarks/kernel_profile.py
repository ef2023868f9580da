"""Where the time on the GPU goes, by kernel, from torch's profiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def profiled(run: Callable[[], Any]) -> dict[str, Any]:
    """Kernels of a run on the device, the costliest first: time of all, their number, and each one's share.

    The times of kernels that run side by side on two streams add up, so that their sum may be more than the wall time.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        run()
    totals: dict[str, tuple[float, int]] = {}
    for event in profile.events():
        if str(event.device_type).endswith("CUDA"):
            seconds, count = totals.get(event.name, (0.0, 0))
            totals[event.name] = (seconds + event.time_range.elapsed_us() / 1e6, count + 1)
    ordered = sorted(totals.items(), key=lambda one: -one[1][0])
    return {
        "device_s": round(sum(seconds for seconds, _ in totals.values()), 4),
        "launches": sum(count for _, count in totals.values()),
        "kernels": [{"kernel": n[:100], "seconds": round(s, 4), "launches": c} for n, (s, c) in ordered],
    }
