"""Restrict an engine process to its own GPU.

CUDA has a current device per thread, initially device 0. Triton kernels, events and pinned memory use the current
device, regardless of a tensor's device. With a single visible GPU, device 0 is the right one in every thread, also in
FunASR's code, and nothing is allocated on the GPU of another engine.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

#: CUDA's variable: the devices visible to a process, by number or UUID, in the order of their new numbers.
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class OwnGpu:
    """An engine's device. `name`: in the settings; `torch_name`: in torch in this process."""

    name: str
    torch_name: str

    def rename(self, text: str) -> str:
        """Replace torch's name at the start of a device description with the name in the settings."""
        if self.torch_name == self.name or not text.startswith(self.torch_name):
            return text
        return self.name + text.removeprefix(self.torch_name)


def show_only(device: str, environment: MutableMapping[str, str], count_gpus: Callable[[], int]) -> OwnGpu:
    """Restrict `environment` to `device` (auto, cpu, cuda or cuda:N); must be called before CUDA is initialised.

    N is an index of the devices visible now. If that GPU does not exist, `environment` is unchanged and torch will
    report the error. `count_gpus` is called only for N > 0, since it is slow.
    """
    if device == "cpu":
        return OwnGpu(device, device)
    number = int(device.partition(":")[2] or 0)
    listed = environment.get(VISIBLE)
    if listed is not None:
        entries = [entry.strip() for entry in listed.split(",") if entry.strip()]
        if number >= len(entries):
            return OwnGpu(device, device)
        chosen = entries[number]
    else:
        chosen = str(number)
    if number > 0 and number >= count_gpus():
        return OwnGpu(device, device)
    environment[VISIBLE] = chosen
    return OwnGpu(device, device if device == "auto" else "cuda:0")
