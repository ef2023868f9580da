"""Loads FunASR model directories onto a device, and translates what a device says when it fails.

Importing this module imports torch (seconds): only the engine process does.
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
    config: ModelConfig
    module: Any
    tokenizer: Any
    frontend: Any
    device: torch.device
    options: dict[str, Any]

    @property
    def directory(self) -> Path:
        """Where it was loaded from."""
        return self.config.directory


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


def load(directory: Path, device: torch.device, threads: int) -> LoadedModel:
    """Build the model of a directory and read its weights.

    Raises EngineError when FunASR cannot build it, when weights are missing, or when it is not wholly on
    the device afterwards (FunASR falls back to the CPU without a word).
    """
    # TF32 would make fp32 results depend on the card; nothing here is bound by these matmuls yet.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False
    config = read_model_config(directory)
    try:
        # On the CPU, where weights replace what FunASR makes up, and without `init_param`, so that it reads no weights.
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


def cannot_build(config: ModelConfig, error: Exception) -> EngineError:
    """What is said where FunASR cannot build a model out of its configuration."""
    return EngineError(
        f"FunASR cannot build {config.family}: {in_short(error)}",
        operation="load model",
        path=config.directory,
        remedy="check that the directory is complete, or fetch the model again",
    )


def in_short(error: Exception) -> str:
    """Type and first line of an exception: FunASR's messages run over pages."""
    lines = str(error).strip().splitlines()
    first = lines[0][:MESSAGE_CHARS] if lines else "no message"
    return f"{type(error).__name__}: {first}"


def _same(one: torch.device, other: torch.device) -> bool:
    return one.type == other.type and (one.index or 0) == (other.index or 0)
