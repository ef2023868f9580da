"""Check torch and the device: CUDA and driver versions, free memory, correct results, precisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from dropscribe.doctor.checks.record import Check, fail, ok, warning
from dropscribe.engine.gpu_probe import Gpu, Hardware

#: Lowest compute capability with bfloat16 matrix units (Ampere), and with float16 ones (Volta).
BF16_CAPABILITY = (8, 0)
FP16_CAPABILITY = (7, 0)
#: Free memory that large models need with their batches, bytes.
ROOMY_BYTES = 4 * 1024**3
GIB = 1024**3


def nvidia_nodes(dev: Path = Path("/dev")) -> tuple[str, ...]:
    """Names of the NVIDIA device nodes of this machine, sorted."""
    return tuple(sorted(p.name for p in dev.glob("nvidia*")))


def check_torch(hardware: Hardware, nodes: tuple[str, ...], setting: str) -> Check:
    """Check that torch works and that its CUDA version fits the driver. `setting`: `engine.device`."""
    name = "torch"
    if setting.startswith("cpu"):
        setting = "cpu"  # any number of engine processes
    if hardware.torch is None:
        return fail(
            name,
            hardware.problem or "torch is missing",
            "install torch (see docs/installation.md, GPU or CPU)",
        )
    seen = f"torch {hardware.torch}"
    cards = [n for n in nodes if n.removeprefix("nvidia").isdigit()]
    if hardware.built_for is None:
        if setting.startswith("cuda"):
            return fail(
                name,
                f"{seen} is built for the CPU, and engine.device is {setting}",
                "install torch with CUDA (see docs/installation.md, GPU or CPU)",
            )
        if cards and setting == "auto":
            return warning(
                name,
                f"{seen} is built for the CPU while this machine has an NVIDIA card",
                "install torch with CUDA (see docs/installation.md, GPU or CPU), or set engine.device = 'cpu'",
            )
        return ok(name, f"{seen}, built for the CPU")
    seen = f"{seen}, built for CUDA {_dotted(hardware.built_for)}"
    driver = hardware.driver_cuda
    if driver is None:
        return _without_driver(seen, cards, setting)
    seen = f"{seen}, driver supports CUDA {_dotted(driver)}"
    if driver[0] < hardware.built_for[0] and setting != "cpu":
        return fail(
            name,
            seen,
            f"update the NVIDIA driver, or install a torch built for CUDA {driver[0]}.x",
        )
    if driver < hardware.built_for and setting != "cpu":
        return warning(
            name,
            seen,
            "kernels compiled at run time may be refused; update the NVIDIA driver when something is",
        )
    return ok(name, seen)


def _without_driver(seen: str, cards: list[str], setting: str) -> Check:
    if cards and setting != "cpu":
        return fail("torch", f"{seen}; libcuda.so.1 is not found", "install the NVIDIA driver's CUDA library")
    if setting.startswith("cuda"):
        return fail(
            "torch", f"{seen}; there is no NVIDIA driver", "install the driver, or set engine.device = 'cpu'"
        )
    return ok("torch", f"{seen}; no NVIDIA driver, so the CPU is used")


def check_device(hardware: Hardware, nodes: tuple[str, ...], setting: str) -> Check:
    """Check that one device of `engine.device` exists and computes correctly."""
    name = "device"
    if setting == "cpu":
        return ok(name, "cpu, as configured")
    gpu = chosen(hardware, setting)
    if gpu is None:
        why = hardware.problem or f"torch sees {len(hardware.gpus)} CUDA devices"
        if setting == "auto" and not nodes:
            return ok(name, "cpu: this machine has no NVIDIA card")
        if "nvidia0" in nodes and "nvidia-uvm" not in nodes:
            remedy = "make the missing node /dev/nvidia-uvm: nvidia-modprobe -c 0 -u"
        else:
            remedy = "run nvidia-smi; the user of the daemon needs access to /dev/nvidia*"
        if setting == "auto":
            return warning(name, f"cpu, although there is an NVIDIA card: {why}", remedy)
        return fail(name, f"{setting} cannot be used: {why}", remedy)
    text = f"{gpu.name}, {gpu.free_bytes / GIB:.1f} of {gpu.total_bytes / GIB:.1f} GiB free"
    if not gpu.computes:
        return fail(
            name, f"{text}, computes wrongly", "look for Xid errors in the kernel log; replace the card"
        )
    if gpu.free_bytes < ROOMY_BYTES:
        return warning(name, text, "stop what else uses the card, or set a smaller engine.batch_s")
    return ok(name, text)


def check_precision(hardware: Hardware, setting: str, wanted: str = "auto") -> Check:
    """Report the precisions that the device computes at full speed. `wanted`: `engine.precision`."""
    name = "precision"
    gpu = chosen(hardware, setting)
    if gpu is None and setting.startswith("cuda"):
        return warning(name, f"unknown, since {setting} cannot be used", "see the check of the device")
    if gpu is None:
        return _precision_of_cpu(hardware, wanted)
    if wanted in ("int8", "bf16"):
        return fail(
            name, f"engine.precision is {wanted}, which is for the CPU", "set engine.precision to auto"
        )
    major, minor = gpu.capability
    have = ["fp32"]
    if gpu.capability >= FP16_CAPABILITY:
        have.append("fp16")
    if gpu.capability >= BF16_CAPABILITY:
        have.append("bf16")
    text = f"{', '.join(have)} (compute capability {major}.{minor})"
    if "bf16" not in have:
        return warning(name, text, "it works; a card of the Ampere generation or newer is much faster")
    return ok(name, text)


def _precision_of_cpu(hardware: Hardware, wanted: str) -> Check:
    name = "precision"
    if wanted == "fp16":
        return fail(
            name, "engine.precision is fp16, which needs a CUDA device", "set engine.precision to auto"
        )
    have = [p for p, held in (("bf16", hardware.bf16), ("int8", hardware.int8 != "none")) if held]
    if wanted in ("int8", "bf16") and wanted not in have:
        products = {"int8": "products of 8 bits", "bf16": "products in bf16"}[wanted]
        return fail(
            name,
            f"engine.precision is {wanted}, and this processor or this torch has no {products}",
            "set engine.precision to auto",
        )
    if wanted == "int8":
        limited = ", with slightly coarser weights, since the processor has no VNNI instructions"
        return ok(name, "int8 on the cpu" + (limited if hardware.int8 == "limited" else ""))
    if wanted == "bf16":
        return ok(name, "bf16 on the cpu")
    faster = f"; {' or '.join(have)} would be faster (engine.precision)" if have else ""
    return ok(name, "fp32 on the cpu" + faster)


def devices_named(hardware: Hardware, setting: str) -> tuple[str, ...]:
    """Devices to check, each once; `cuda` stands for every GPU that torch sees, or itself if there is none."""
    if setting == "cuda" and hardware.gpus:
        return tuple(f"cuda:{i}" for i in range(len(hardware.gpus)))
    return tuple(dict.fromkeys(setting.split(", ")))


def check_devices(
    hardware: Hardware, nodes: tuple[str, ...], setting: str, wanted: str = "auto"
) -> Iterator[Check]:
    """`check_device` and `check_precision` of each device; with several, check names end with `:` and the device.

    setting, wanted: `engine.device` and `engine.precision`.
    """
    devices = devices_named(hardware, setting)
    for device in devices:
        suffix = f":{device}" if len(devices) > 1 else ""
        for check in (check_device(hardware, nodes, device), check_precision(hardware, device, wanted)):
            yield replace(check, name=f"{check.name}{suffix}")


def chosen(hardware: Hardware, setting: str) -> Gpu | None:
    """GPU that `setting` names; None for the CPU or a GPU that does not exist."""
    if setting == "cpu":
        return None
    index = int(setting.partition(":")[2] or 0)
    return hardware.gpus[index] if index < len(hardware.gpus) else None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"
