"""Load the weights of a model from its file into the module, in any format of FunASR's models.

FunASR's own `load_pretrained_model` makes an extra copy, leaves parameters that the file lacks at random values, and
reports that on standard output only. Here a file is read once, as weights only, and must match the module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from dropscribe.errors import EngineError

#: Keys that may contain the weights, in the order in which FunASR tries them.
_WRAPPINGS = ("state_dict", "model_state_dict", "model")
#: Prefix of parameter names of `torch.nn.DataParallel`.
_PARALLEL = "module."
#: Bytes read to identify a file.
_HEAD = 512
#: First bytes of torch's files: a zip archive; or a pickle of torch's magic number, before that of the weights.
_ZIP = b"PK\x03\x04"
_LEGACY = bytes.fromhex("8002 8a0a 6cfc9c46f9206aa85019")
_FETCH_AGAIN = "fetch the model again"
_NAMED = 3


def load_weights(module: torch.nn.Module, path: Path, directory: Path) -> None:
    """Load the weights of a file into a module, in the module's precision.

    On the CPU the memory of the module's initial weights is released first, so that the peak is the size of the file.
    Raises EngineError if the file is of another kind, is damaged, contains anything but weights, or does not match.
    """
    wanted = module.state_dict()
    on_cpu = all(value.device.type == "cpu" for value in wanted.values())
    shapes = {name: (value.shape, value.dtype) for name, value in wanted.items()}
    if on_cpu:
        for value in wanted.values():
            value.untyped_storage().resize_(0)
    del wanted
    weights = read_weights(path, directory, shapes)
    module.load_state_dict(weights, strict=True, assign=on_cpu)
    # Some FunASR classes have this hook; FunASR's own loader calls it, too.
    loaded = getattr(module, "on_pretrained_model_loaded", None)
    if callable(loaded):
        loaded(frozenset(shapes))


def read_weights(
    path: Path, directory: Path, shapes: Mapping[str, tuple[Sequence[int], torch.dtype]]
) -> dict[str, Tensor]:
    """Read the named tensors of a file onto the CPU, in the given precision; `shapes`: (shape, precision) of each name.

    Other tensors of the file are left out. Raises EngineError as `load_weights` does.
    """
    stored = _unwrapped(_read(path, directory))
    wrong = sorted(name for name, (shape, _) in shapes.items() if not _fits(stored.get(name), shape))
    if wrong:
        raise EngineError(
            f"{path.name} lacks {len(wrong)} of the model's parameters ({', '.join(wrong[:_NAMED])}, …)",
            operation="load model",
            path=directory,
            remedy="config.yaml and weights do not belong together; fetch the model again",
        )
    return {name: _compact(stored.pop(name).to(dtype)) for name, (_, dtype) in shapes.items()}


def _read(path: Path, directory: Path) -> Any:
    """Content of the file. Raises EngineError."""

    def error(reason: str, remedy: str = _FETCH_AGAIN) -> EngineError:
        return EngineError(f"{path.name} {reason}", operation="load model", path=directory, remedy=remedy)

    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as e:
        raise error(
            f"cannot be read: {e.strerror}", "give the user that runs dropscribe the right to read it"
        ) from e
    if foreign := _foreign(head):
        raise error(*foreign)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except UnpicklingError as e:
        if "Unsupported" in str(e) or "Weights only load failed" in str(e):
            raise error(
                "holds more than weights, and would run code when it is read: it is not loaded",
                "get the model from its publisher",
            ) from e
        raise error(f"is damaged: {_in_short(e)}") from e
    except Exception as e:
        raise error(f"is damaged or cut short: {_in_short(e)}") from e


def _foreign(head: bytes) -> tuple[str, str] | None:
    """Reason and remedy if a file that begins with `head` is not torch's; None if it may be."""
    text = head.lstrip().lower()
    if not head:
        return "is empty", _FETCH_AGAIN
    if head.startswith(b"version https://git-lfs"):
        return (
            "is a pointer of git-lfs and not the file itself",
            "run 'git lfs pull' in the model's repository",
        )
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return (
            "is a web page and not a file of weights: the download got an error page",
            _FETCH_AGAIN,
        )
    if text.startswith((b"{", b"[")):
        return "is a text in JSON and not a file of weights", _FETCH_AGAIN
    if not head.strip(b"\0"):
        return "is filled with zeros: the download did not come to its end", _FETCH_AGAIN
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 32:
        return (
            "is a safetensors file, which FunASR does not read",
            "give the model.pt of the model's publisher",
        )
    if not head.startswith((_ZIP, _LEGACY)):
        return "is not a file of weights as torch writes it", _FETCH_AGAIN
    return None


def _unwrapped(stored: Any) -> dict[str, Tensor]:
    """Tensors by the module's parameter names."""
    for wrapping in _WRAPPINGS:
        if isinstance(stored, Mapping) and isinstance(stored.get(wrapping), Mapping):
            stored = stored[wrapping]
    if not isinstance(stored, Mapping):
        return {}
    return {
        name.removeprefix(_PARALLEL): value
        for name, value in stored.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }


def _fits(stored: Tensor | None, shape: Sequence[int]) -> bool:
    return stored is not None and tuple(stored.shape) == tuple(shape) and stored.layout == torch.strided


def _compact(value: Tensor) -> Tensor:
    """The tensor, contiguous, with a storage of exactly its size."""
    whole = value.contiguous()
    if whole.untyped_storage().nbytes() > whole.numel() * whole.element_size():
        return whole.clone()
    return whole


def _in_short(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    # Only the first sentence: the rest is advice for programmers.
    first = lines[0].split(". ")[0][:200] if lines else "no message"
    return f"{type(error).__name__}: {first}"
