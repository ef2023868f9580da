"""Whether a node would give the same text as the others: versions of packages, contents of models."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version

from dropscribe import __version__
from dropscribe.config import Settings
from dropscribe.engine.models import store
from dropscribe.engine.models.hub import client, receipt

#: Recogniser without files, with which no other model is loaded; used by tests.
NULL = "null"
#: Packages whose versions may change the text.
_PACKAGES = ("funasr", "torch")


def versions() -> dict[str, str]:
    """Package → version, of this installation, without importing them."""
    found = {name: version(name) for name in _PACKAGES}
    return {"dropscribe": __version__, "python": platform.python_version(), **found}


def fingerprints(settings: Settings) -> dict[str, str]:
    """Model → SHA-256 over its files, for the models that are loaded at the start. Fetches a model that is not there.

    Reads all files, some seconds for a large model. Raises EngineError, OSError.
    """
    found = {}
    for role, name in sorted(
        {pair for models in settings.engine.sets if models.asr != NULL for pair in models.by_role()}
    ):
        if not name:
            continue
        directory = store.resolve(name, role, lambda name: client.locate(name, lambda _: None)).directory
        digest = hashlib.sha256()
        for path in sorted(p for p in directory.rglob("*") if p.is_file() and p.name != receipt.RECEIPT):
            digest.update(f"{path.relative_to(directory)}\n{receipt.digest(path)}\n".encode())
        found[name] = digest.hexdigest()
    return found


def difference(what: str, expected: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What differs, for people; "" if nothing does. `what`: "version" or "content"."""
    for name in sorted(expected.keys() | found.keys()):
        here, there = expected.get(name, "none"), found.get(name, "none")
        if here != there:
            return f"{what} of {name}: {there[:12]} there, {here[:12]} here"
    return ""
