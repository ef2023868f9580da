"""Probe the GPUs and the precisions that torch can use, in a child process.

A child process, because importing torch takes seconds, and because a broken driver may crash the process.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dropscribe.engine.layers.torch_import import light

#: Time limit of the child, seconds: it imports torch, possibly from a cold disk, and creates a CUDA context.
TIMEOUT_S = 120.0
#: Argument of the child: print only the number of devices, or where they are.
COUNT, ADDRESSES = "--count", "--addresses"


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device; memory in bytes, `capability` as (major, minor)."""

    name: str
    capability: tuple[int, int]
    total_bytes: int
    free_bytes: int
    #: True if the result of a small computation on it was correct.
    computes: bool


@dataclass(frozen=True, slots=True)
class Hardware:
    """Result of a probe. `built_for`: CUDA version that torch was built with; `driver_cuda`: newest of the driver."""

    torch: str | None
    built_for: tuple[int, int] | None
    driver_cuda: tuple[int, int] | None
    gpus: tuple[Gpu, ...]
    problem: str | None  #: reason why torch or its CUDA cannot be used; None if there is none
    #: Products of 8 bits on the CPU; "limited": without VNNI instructions, see `layers.linear.int8.PAIRS`.
    int8: Literal["none", "limited", "full"] = "none"
    #: Whether the CPU multiplies bf16.
    bf16: bool = False


def probe(timeout_s: float = TIMEOUT_S) -> Hardware:
    """Run the probe in a child. Any failure is in `problem` of the result."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "dropscribe.engine.gpu_probe"],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        return Hardware(None, None, None, (), f"torch did not answer within {timeout_s:.0f} s")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return Hardware(
            None, None, None, (), f"the process that asked torch ended with {done.returncode}: {last}"
        )
    # Libraries may print while they are imported; the result is the last line.
    return from_json(done.stdout.strip().splitlines()[-1])


def count_gpus(timeout_s: float = TIMEOUT_S) -> int:
    """Number of CUDA devices of the driver; 0 if there are none or it does not respond.

    Runs in a child, too, but without torch, whose import would delay the start of the engine by seconds.
    """
    answer = _asked(COUNT, timeout_s)
    return int(answer) if answer.isdecimal() else 0


def gpu_addresses(timeout_s: float = TIMEOUT_S) -> tuple[str, ...]:
    """PCI address of each CUDA device as in /sys/bus/pci/devices, in the order of their numbers; () if it is not known."""
    return tuple(_asked(ADDRESSES, timeout_s).split())


def _asked(question: str, timeout_s: float) -> str:
    """What a child prints that asks the driver; "" if it fails."""
    command = [sys.executable, "-m", "dropscribe.engine.gpu_probe", question]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def _driver_count() -> int:
    driver, number = _driver(), ctypes.c_int()
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(number)) != 0:
        return 0
    return number.value


def _driver_addresses() -> list[str]:
    driver, found = _driver(), []
    for index in range(_driver_count()):
        device, address = ctypes.c_int(), ctypes.create_string_buffer(32)
        if (
            driver is None
            or driver.cuDeviceGet(ctypes.byref(device), index) != 0
            or driver.cuDeviceGetPCIBusId(address, len(address), device) != 0
        ):
            return []
        found.append(address.value.decode("ascii").lower())
    return found


def from_json(text: str) -> Hardware:
    """Parse the output of the child."""
    raw: dict[str, Any] = json.loads(text)
    gpus = tuple(Gpu(**(g | {"capability": tuple(g["capability"])})) for g in raw["gpus"])
    return Hardware(
        raw["torch"],
        _pair(raw["built_for"]),
        _pair(raw["driver_cuda"]),
        gpus,
        problem=raw["problem"],
        int8=raw["int8"],
        bf16=raw["bf16"],
    )


def _pair(value: list[int] | None) -> tuple[int, int] | None:
    return None if value is None else (value[0], value[1])


def _driver_cuda() -> tuple[int, int] | None:
    """CUDA version of the driver, from its library; None if there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    number = ctypes.c_int()
    if driver.cuDriverGetVersion(ctypes.byref(number)) != 0:
        return None
    # 12040 is 12.4, as documented at cuDriverGetVersion.
    return number.value // 1000, number.value % 1000 // 10


def _probe() -> Hardware:
    driver = _driver_cuda()
    try:
        light()  # only in the child; a failed import is a result
        import torch  # noqa: PLC0415
    except (ImportError, OSError) as e:
        return Hardware(None, None, driver, (), f"torch cannot be imported: {e}")
    # Imported here, since it imports torch.
    from dropscribe.engine.layers.linear import bf16, int8  # noqa: PLC0415

    products = int8.products(), bf16.has_products()
    built = None
    if torch.version.cuda is not None:
        major, minor = torch.version.cuda.split(".")[:2]
        built = int(major), int(minor)
    if built is None:
        return Hardware(torch.__version__, None, driver, (), None, *products)
    gpus = []
    try:
        # Unlike is_available(), this raises an error with the reason.
        torch.cuda.init()  # type: ignore[no-untyped-call, unused-ignore] # typed in some versions only
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            one = torch.ones(64, 64, device=f"cuda:{index}")
            computes = float((one @ one).sum().item()) == 64.0**3
            name = torch.cuda.get_device_name(index)
            gpus.append(Gpu(name, torch.cuda.get_device_capability(index), total, free, computes))
    except (RuntimeError, AssertionError) as e:
        return Hardware(torch.__version__, built, driver, tuple(gpus), str(e).splitlines()[0], *products)
    return Hardware(torch.__version__, built, driver, tuple(gpus), None, *products)


if __name__ == "__main__":
    if sys.argv[1:] == [COUNT]:
        print(_driver_count())  # noqa: T201 - the result for the parent
        sys.exit()
    if sys.argv[1:] == [ADDRESSES]:
        print(*_driver_addresses())  # noqa: T201 - the same
        sys.exit()
    print(json.dumps(asdict(_probe())))  # noqa: T201 - the result for the parent
