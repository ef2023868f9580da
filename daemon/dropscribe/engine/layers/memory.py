"""Device memory that this process may use."""

from __future__ import annotations

import torch


def usable_bytes(device: torch.device) -> int:
    """Memory of a CUDA device, or the share of it that `engine.gpu_memory` leaves this process, bytes."""
    total = torch.cuda.get_device_properties(device).total_memory
    return int(total * torch.cuda.get_per_process_memory_fraction(device))
