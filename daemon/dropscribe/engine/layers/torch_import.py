"""Import torch without what only its compiler needs: two thirds of the time of a full import."""

from __future__ import annotations

import gc
import importlib
import sys
from types import ModuleType
from typing import Any

#: Describes the results of torch's operators to its compiler, and imports Python versions of most operators for that.
#: `import torch` imports it and uses nothing of it.
COMPILER_ONLY = "torch._meta_registrations"


def leave_out_compiler() -> None:
    """Keep the next `import torch` of this process from running `COMPILER_ONLY`; without effect after the first one.

    The module runs when an attribute of it is used. Before that, tensors without data (device "meta") cannot be used
    with every operator.
    """
    if "torch" not in sys.modules:
        sys.modules[COMPILER_ONLY] = _stand_in()


def light() -> None:
    """Import torch without `COMPILER_ONLY`, and without the collector going through its thousands of new classes."""
    leave_out_compiler()
    collecting = gc.isenabled()
    gc.disable()
    try:
        importlib.import_module("torch")
    finally:
        if collecting:
            gc.enable()


def complete() -> None:
    """Run what `leave_out_compiler` kept from running, if it did."""
    left_out = sys.modules.get(COMPILER_ONLY)
    if left_out is not None and getattr(left_out, "__file__", None) is None:
        del sys.modules[COMPILER_ONLY]
        importlib.import_module(COMPILER_ONLY)


def _stand_in() -> ModuleType:
    module = ModuleType(COMPILER_ONLY)

    def complete(name: str) -> Any:
        # Python and its tools look up such names in every module; they must not trigger the import.
        if name.startswith("__"):
            raise AttributeError(f"module {COMPILER_ONLY!r} has no attribute {name!r}")
        if sys.modules.get(COMPILER_ONLY) is module:
            del sys.modules[COMPILER_ONLY]
        return getattr(importlib.import_module(COMPILER_ONLY), name)

    module.__dict__["__getattr__"] = complete
    return module
