"""To the device and back through pinned memory, on the current CUDA stream, without waiting for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscribe.engine.core.interfaces import Pcm
from dropscribe.engine.layers.gather import Gather, one_after_another

#: Threads that copy samples into pinned memory, up to 77 MB a look: one core alone would take as long as the launching.
COPIERS = 4


class Upload:
    """Owned by the thread that launches."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._copy = Gather(COPIERS) if self._on_gpu else one_after_another

    def samples(self, parts: Sequence[Pcm]) -> Tensor:
        """All parts one after another, (samples,) int16; on the host they are copied once, and may be overwritten afterwards."""
        host = torch.empty(sum(map(len, parts)), dtype=torch.int16, pin_memory=self._on_gpu)
        self._copy(parts, host.numpy())
        return host.to(self._device, non_blocking=True)

    def values(self, values: NDArray[Any]) -> Tensor:
        """A small array."""
        host = torch.from_numpy(values)
        return host.pin_memory().to(self._device, non_blocking=True) if self._on_gpu else host


def to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    """Start copying to pinned memory; the values may be read once the event has happened."""
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return host, event
