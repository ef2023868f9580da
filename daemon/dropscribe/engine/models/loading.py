"""Load FunASR model directories onto a device, and translate device errors.

Importing this module imports torch, which takes seconds; only the engine process does so.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dropscribe.engine.models import funasr_parts
from dropscribe.engine.models.model_config import ModelConfig, read_model_config
from dropscribe.engine.models.weights import load_weights
from dropscribe.errors import DeviceFailedError, EngineError, OutOfDeviceMemoryError

#: Parts of messages of torch (and Triton: "[CUDA]") for faults after which a CUDA context is unusable.
_DEVICE_FAULTS = ("CUDA error", "CUDA driver error", "[CUDA]", "CUDNN", "cuDNN", "CUBLAS", "CUFFT", "NVRTC")
#: Longest part of another library's message in an error, characters.
MESSAGE_CHARS = 300
#: Parts of messages for full device memory, which differ between the libraries.
_NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "STATUS_ALLOC_FAILED")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A FunASR model in evaluation mode on its device, fp32."""

    family: str  #: the class name in FunASR's registry
    config: ModelConfig
    module: Any
    tokenizer: Any
    frontend: Any
    device: torch.device
    options: dict[str, Any]

    @property
    def directory(self) -> Path:
        """Directory from which it was loaded."""
        return self.config.directory


def choose_device(wanted: str) -> torch.device:
    """Resolve a device name; `auto` is cuda:0 if available, else cpu. Raises EngineError for a missing device."""
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
    """Device with its model name, for people: `cpu`, or `cuda:0 (NVIDIA …)`."""
    if device.type == "cpu":
        return "cpu"
    return f"{device} ({torch.cuda.get_device_name(device)})"


def load(directory: Path, device: torch.device, threads: int) -> LoadedModel:
    """Build the model of a directory and load its weights.

    Raises EngineError if FunASR cannot build it, if weights are missing, or if not all parameters are on the device
    afterwards (FunASR silently falls back to the CPU).
    """
    # TF32 would make fp32 results depend on the GPU model; these matmuls are not a bottleneck.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    config = read_model_config(directory)
    try:
        # On the CPU, where the initial weights are replaced; without `init_param`, so that FunASR reads no weights.
        module, options = funasr_parts.build_model(config.options, threads)
    except Exception as e:
        raise cannot_build(config, e) from e
    load_weights(module, config.weights, directory)
    module.to(device)
    options["device"] = str(device)
    elsewhere = {str(p.device) for p in module.parameters() if not _same(p.device, device)}
    if elsewhere:
        raise EngineError(
            f"its parameters are on {', '.join(sorted(elsewhere))}, not on {device}",
            operation="load model",
            path=directory,
            remedy="run 'dropscribe doctor'",
        )
    return LoadedModel(
        config.family,
        config,
        module.eval(),
        options.get("tokenizer"),
        options.get("frontend"),
        device,
        options,
    )


@contextmanager
def device_faults() -> Iterator[None]:
    """Translate device errors of torch.

    Raises OutOfDeviceMemoryError if a smaller batch may fit, DeviceFailedError if the device's context is lost. Other
    errors are not translated: they are caused by the recording.
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
    """Free torch's cache of device memory. Raises DeviceFailedError if the context is lost."""
    try:
        torch.cuda.empty_cache()
    except RuntimeError as e:
        raise DeviceFailedError(str(e), operation="recognise") from e


def cannot_build(config: ModelConfig, error: Exception) -> EngineError:
    """Error for a model that FunASR cannot build from its configuration."""
    return EngineError(
        f"FunASR cannot build {config.family}: {in_short(error)}",
        operation="load model",
        path=config.directory,
        remedy="check that the directory is complete, or fetch the model again",
    )


def in_short(error: Exception) -> str:
    """Type and first line of an exception; FunASR's messages may be pages long."""
    lines = str(error).strip().splitlines()
    first = lines[0][:MESSAGE_CHARS] if lines else "no message"
    return f"{type(error).__name__}: {first}"


def _same(one: torch.device, other: torch.device) -> bool:
    return one.type == other.type and (one.index or 0) == (other.index or 0)
