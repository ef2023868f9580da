"""Loads FunASR model directories onto a device, and translates what a device says when it fails.

Importing this module imports torch and funasr (seconds): only the engine process does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from funasr import AutoModel
from funasr.download.download_model_from_hub import download_model

from daemon.errors import DeviceFailedError, EngineError, OutOfDeviceMemoryError

#: What torch (and Triton: "[CUDA]") writes for faults after which a CUDA context is of no use.
_DEVICE_FAULTS = ("CUDA error", "CUDA driver error", "[CUDA]", "CUDNN", "cuDNN", "CUBLAS", "CUFFT", "NVRTC")
#: How much of somebody else's message goes into ours.
MESSAGE_CHARS = 300
#: The libraries that work in the device's memory have names of their own for a full one.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "STATUS_ALLOC_FAILED")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A FunASR model in evaluation mode on its device, fp32."""

    family: str  #: the class name in FunASR's registry
    directory: Path
    module: Any
    tokenizer: Any
    frontend: Any
    device: torch.device
    options: dict[str, Any]


def choose_device(wanted: str) -> torch.device:
    """`auto` is cuda:0 where torch sees one, else the cpu. Raises EngineError for a device that is not there."""
    if wanted == "auto":
        wanted = "cuda:0" if torch.cuda.is_available() else "cpu"
    if wanted == "cpu":
        return torch.device("cpu")
    device = torch.device("cuda:0" if wanted == "cuda" else wanted)
    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = "this torch is built for the CPU only" if built is None else "torch sees no CUDA device"
        raise EngineError(
            why,
            operation=f"use device {wanted}",
            remedy="set engine.device to auto or cpu, or run 'dropscribe doctor' for what is missing",
        )
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise EngineError(
            f"there are only {count} CUDA devices, counted from cuda:0",
            operation=f"use device {wanted}",
            remedy="name one of them in engine.device",
        )
    return device


def describe_device(device: torch.device) -> str:
    """`cpu`, or `cuda:0 (NVIDIA …)`."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} ({torch.cuda.get_device_name(device)})"


def family_of(directory: Path) -> str:
    """The model class a directory asks for, by its `config.yaml`. Raises EngineError."""
    options = _read_config(directory)
    family = options.get("model")
    if not isinstance(family, str) or "model_conf" not in options:
        raise EngineError(
            "its config.yaml names no model that FunASR knows",
            operation="load model",
            path=directory,
            remedy="give a FunASR model directory (config.yaml, model.pt)",
        )
    return family


def load(directory: Path, device: torch.device, threads: int) -> LoadedModel:
    """Build the model of a directory and read its weights.

    Raises EngineError when FunASR cannot build it, when weights are missing, or when it is not wholly on
    the device afterwards (FunASR falls back to the CPU without a word).
    """
    # TF32 would make fp32 results depend on the card; nothing here is bound by these matmuls yet.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        options = {**_read_config(directory), "device": str(device), "ncpu": threads, "disable_update": True}
        module, options = AutoModel.build_model(**options)
    except EngineError:
        raise
    except Exception as e:
        raise EngineError(
            f"FunASR cannot build it: {in_short(e)}",
            operation="load model",
            path=directory,
            remedy="check that the directory is complete, or fetch the model again",
        ) from e
    _check_weights(module, Path(str(options.get("init_param", directory / "model.pt"))), directory)
    elsewhere = {str(p.device) for p in module.parameters() if not _same(p.device, device)}
    if elsewhere:
        raise EngineError(
            f"its parameters are on {', '.join(sorted(elsewhere))}, not on {device}",
            operation="load model",
            path=directory,
            remedy="run 'dropscribe doctor'",
        )
    return LoadedModel(
        str(options["model"]),
        directory,
        module.eval(),
        options.get("tokenizer"),
        options.get("frontend"),
        device,
        options,
    )


@contextmanager
def device_faults() -> Iterator[None]:
    """Translate torch's ways of failing.

    Raises OutOfDeviceMemoryError where a smaller batch may do, DeviceFailedError where the device's context
    is lost. Anything else passes through as it is: it belongs to the recording.
    """
    try:
        yield
    except RuntimeError as e:
        text = str(e)
        if isinstance(e, torch.OutOfMemoryError) or any(sign in text for sign in _NO_MEMORY):
            _give_back_cache()
            raise OutOfDeviceMemoryError(text, operation="recognise") from e
        if isinstance(e, torch.AcceleratorError) or any(sign in text for sign in _DEVICE_FAULTS):
            raise DeviceFailedError(text, operation="recognise") from e
        raise


def _give_back_cache() -> None:
    """Free what torch keeps for later. Of a context that is lost this is where one may hear of it first."""
    try:
        torch.cuda.empty_cache()
    except RuntimeError as e:
        raise DeviceFailedError(str(e), operation="recognise") from e


def in_short(error: Exception) -> str:
    """Type and first line of an exception: FunASR's messages run over pages."""
    lines = str(error).strip().splitlines()
    first = lines[0][:MESSAGE_CHARS] if lines else "no message"
    return f"{type(error).__name__}: {first}"


def _same(one: torch.device, other: torch.device) -> bool:
    return one.type == other.type and (one.index or 0) == (other.index or 0)


def _read_config(directory: Path) -> dict[str, Any]:
    try:
        options: dict[str, Any] = download_model(model=str(directory))
    except Exception as e:
        raise EngineError(
            f"its configuration cannot be read: {in_short(e)}",
            operation="load model",
            path=directory,
            remedy="check config.yaml and configuration.json, or fetch the model again",
        ) from e
    return options


def _check_weights(module: torch.nn.Module, weights: Path, directory: Path) -> None:
    """FunASR leaves parameters that the file lacks at random values and only prints so; we refuse."""
    stored = torch.load(weights, map_location="cpu", mmap=True, weights_only=True)
    for wrapping in ("state_dict", "model_state_dict", "model"):
        if wrapping in stored:
            stored = stored[wrapping]
    names = {name.removeprefix("module."): value for name, value in stored.items()}
    wrong = [
        name
        for name, wanted in module.state_dict().items()
        if name not in names or names[name].shape != wanted.shape
    ]
    if wrong:
        raise EngineError(
            f"{weights.name} lacks {len(wrong)} of the model's parameters ({', '.join(sorted(wrong)[:3])}, …)",
            operation="load model",
            path=directory,
            remedy="config.yaml and weights do not belong together; fetch the model again",
        )
