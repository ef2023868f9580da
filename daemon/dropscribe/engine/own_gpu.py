"""Show an engine process the one GPU that is its own.

CUDA keeps a current device for each thread, device 0 until the thread says otherwise, and kernels launched by Triton, events and
pinned memory go to the current device, whatever device a tensor is on. With a single GPU visible, device 0 is the right
one in every thread, in FunASR's code as in ours, and nothing allocates on a GPU that belongs to another engine.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from dataclasses import dataclass

#: CUDA's variable: the devices a process sees, by number or UUID, in the order of their new numbers.
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, slots=True)
class OwnGpu:
    """An engine's device. `name` is what the settings call it, `torch_name` what torch calls it in this process."""

    name: str
    torch_name: str

    def rename(self, text: str) -> str:
        """A description of the device that begins with torch's name, with the name of the settings instead."""
        if self.torch_name == self.name or not text.startswith(self.torch_name):
            return text
        return self.name + text.removeprefix(self.torch_name)


def show_only(device: str, environment: MutableMapping[str, str], count_gpus: Callable[[], int]) -> OwnGpu:
    """Narrow `environment` to `device` (auto, cpu, cuda or cuda:N); to be called before CUDA is initialised.

    N counts the devices that are visible now. A GPU that does not exist is left to torch, which says what is wrong.
    `count_gpus` is asked only for N > 0, since it takes time.
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
