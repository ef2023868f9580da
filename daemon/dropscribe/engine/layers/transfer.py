"""Copy to and from the device, asynchronously, in the order of the current CUDA stream.

Through pinned memory, which the host fills, or, what lies in memory shared with the device (`share`), by the device alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dropscribe.engine.core.interfaces import Pcm

#: Smallest number of samples for which several threads are faster than one.
WORTH_SHARING = 1 << 20


def one_after_another(parts: Sequence[Pcm], out: Pcm) -> None:
    """Copy all parts to `out`, which has their total length."""
    np.concatenate(parts, out=out)


class Gather:
    """Concatenation by several threads: copying releases the GIL, and one core does not saturate the memory."""

    def __init__(self, threads: int) -> None:
        self._shares = threads
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="copy")

    def __call__(self, parts: Sequence[Pcm], out: Pcm) -> None:
        """As `one_after_another`; returns after everything is copied."""
        if len(out) < WORTH_SHARING:
            one_after_another(parts, out)
            return
        #: begins[i]: number of samples before part i
        begins = np.cumsum([0, *map(len, parts)])
        cuts = np.searchsorted(begins, [len(out) * i // self._shares for i in range(self._shares + 1)])
        cuts[-1] = len(parts)
        copies = [
            self._threads.submit(one_after_another, parts[a:b], out[begins[a] : begins[b]])
            for a, b in pairwise(cuts.tolist())
            if a < b
        ]
        for copy in copies:
            copy.result()


#: Threads that copy samples into pinned memory, up to 77 MB per VAD pass: one core would take as long as the launch.
COPIERS = 4
#: Most samples of parts that lie elsewhere, in a call that the device copies: the ends of streams' last chunks.
MOST_LOOSE = 1 << 19

#: Addresses of the memory that the device reads itself: a process shares its one arena with its one device.
_shared: list[range] = []


def share(memory: NDArray[np.uint8]) -> str | None:
    """Let the device read this memory, until the process ends, without a copy by the host; returns why it cannot, if so."""
    address, size = _address(memory), memory.nbytes
    runtime = torch.cuda.cudart()
    status = runtime.cudaHostRegister(address, size, 0)
    if status == runtime.cudaError.success:
        _shared.append(range(address, address + size))
        return None
    # CUDA also reports the error to whatever asks next, which is this instead of a model.
    with contextlib.suppress(RuntimeError):
        torch.zeros(1, device="cuda")
    return str(runtime.cudaGetErrorString(status))


def _address(part: NDArray[Any]) -> int:
    """Where an array lies in memory. Not `ctypes.data`, which takes four times as long."""
    address: int = part.__array_interface__["data"][0]
    return address


class Upload:
    """Copies to the device. Owned by the thread that launches."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._copy = Gather(COPIERS) if self._on_gpu else one_after_another
        self._stream = torch.cuda.Stream(device) if self._on_gpu else None

    def samples(self, parts: Sequence[Pcm]) -> Tensor:
        """Concatenated parts on the device, (samples,) int16.

        The memory of `parts` may be reused on return; if it is shared with the device, when the device has come so far.
        """
        read = self._read_by_device(parts) if _shared else None
        return self._copied(parts) if read is None else read

    def _read_by_device(self, parts: Sequence[Pcm]) -> Tensor | None:
        """As `samples`, by the device; None if too much lies in memory that it cannot read."""
        (shared,) = _shared
        places = np.empty((3, len(parts)), np.int64)
        places[0] = [_address(part) for part in parts]
        places[2] = [len(part) for part in parts]
        places[1] = np.cumsum(places[2]) - places[2]
        elsewhere = np.flatnonzero((places[0] < shared.start) | (places[0] >= shared.stop))
        sizes = places[2][elsewhere]
        if sizes.sum() > MOST_LOOSE or len(elsewhere) == len(parts):
            return None
        if sizes.any():
            loose = self._copied([parts[i] for i in elsewhere.tolist()])
            places[0][elsewhere] = loose.data_ptr() + (np.cumsum(sizes) - sizes) * loose.element_size()
        # Imported here, since Triton comes only with CUDA builds of torch.
        from dropscribe.engine.layers.frame_kernels import gathered  # noqa: PLC0415

        return gathered(self.values(places), int(places[2].sum()), int(places[2].max()), torch.int16)

    def _copied(self, parts: Sequence[Pcm]) -> Tensor:
        """As `samples`, through pinned memory."""
        host = torch.empty(sum(map(len, parts)), dtype=torch.int16, pin_memory=self._on_gpu)
        self._copy(parts, host.numpy())
        if self._stream is None:
            return host
        # On a stream of its own, beside the kernels of the batch before.
        with torch.cuda.stream(self._stream):
            samples = host.to(self._device, non_blocking=True)
        current = torch.cuda.current_stream(self._device)
        current.wait_stream(self._stream)
        samples.record_stream(current)
        return samples

    def values(self, values: NDArray[Any]) -> Tensor:
        """A small array on the device."""
        return on_device(values, self._device)


def on_device(values: NDArray[Any], device: torch.device) -> Tensor:
    """A small array on `device`, copied in the order of the current CUDA stream."""
    host = torch.from_numpy(values)
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host


def to_host(values: Tensor) -> tuple[Tensor, torch.cuda.Event]:
    """Start a copy to pinned memory; the values may be read after the event."""
    host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    host.copy_(values, non_blocking=True)
    event = torch.cuda.Event()
    event.record()
    return host, event
