"""Device memory that this process may use."""

from __future__ import annotations

import torch


def usable_bytes(device: torch.device) -> int:
    """Memory of a CUDA device, or the share of it that `engine.gpu_memory` leaves this process, bytes."""
    # torch tells the share only of a device with an index, and `cuda` alone means the current one.
    index = torch.cuda.current_device() if device.index is None else device.index
    total = torch.cuda.get_device_properties(index).total_memory
    return int(total * torch.cuda.get_per_process_memory_fraction(index))
