"""Where a model lies: bundled, in a directory, or on FunASR's hub. No torch here."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.errors import EngineError

#: The name of the models that need no torch (see `daemon.engine.null`).
NULL = "null"
BUNDLED = Path(__file__).parent / "bundled"
BUNDLED_MODELS = ("paraformer-mini", "vad-mini")
SAMPLE = BUNDLED / "sample" / "sample.wav"


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model directory that has been looked at."""

    name: str  #: as it was asked for
    directory: Path
    bundled: bool

    @property
    def notice(self) -> str | None:
        """What every transcript made with it has to say; None for a model that may be used in earnest."""
        if not self.bundled:
            return None
        return (
            f"Made with the demonstration model {self.directory.name}: it mishears much and is not for "
            "commercial use. Set engine.model to a production model."
        )


def resolve(name: str, purpose: str, fetch: Callable[[str], Path]) -> ModelSource:
    """Find the directory of a model; `fetch` gets a name that is neither bundled nor a directory.

    `purpose` ("model", "VAD model") is for messages. Raises EngineError naming what is missing.
    """
    if name in BUNDLED_MODELS:
        directory = BUNDLED / name
    elif (given := Path(name).expanduser()).is_dir():
        directory = given.resolve()
    elif name.startswith((".", "/", "~")):
        raise EngineError(
            "there is no such directory" if not given.exists() else "it is not a directory",
            operation=f"load {purpose}",
            path=given,
            remedy="give the directory that holds config.yaml and model.pt, or a FunASR model name",
        )
    else:
        directory = fetch(name)
    _check_files(directory, purpose)
    return ModelSource(name, directory, directory.resolve().is_relative_to(BUNDLED.resolve()))


def fetch_from_hub(name: str, note: Callable[[str], None]) -> Path:
    """Directory of a hub model: from the local cache if it is there, else downloaded by FunASR.

    `note` is told before a download, which may take minutes. Raises EngineError.
    """
    # Inside, since they take seconds to import and a bundled model needs neither.
    from funasr.download.download_model_from_hub import get_or_download_model_dir  # noqa: PLC0415
    from funasr.download.name_maps_from_hub import name_maps_ms  # noqa: PLC0415

    hub_id = name_maps_ms.get(name, name)
    cached = cached_directory(hub_id)
    if cached is not None:
        return cached
    note(f"fetching {hub_id} from the model hub; this happens once")
    try:
        return Path(get_or_download_model_dir(hub_id))
    except Exception as e:
        reason = " ".join(str(e).split())[:300] or type(e).__name__
        raise EngineError(
            f"'{name}' is neither bundled nor a directory, and it could not be fetched from the hub: {reason}",
            operation="fetch model",
            remedy="with no network, put the model on this machine and name its directory; "
            f"bundled for demonstration: {BUNDLED_MODELS[0]}",
        ) from e


def cached_directory(hub_id: str) -> Path | None:
    """Where the hub's client keeps a model it has fetched before; None if it is not complete there."""
    # The client's own variable, read only to find what it stored.
    root = Path(os.environ.get("MODELSCOPE_CACHE") or Path.home() / ".cache" / "modelscope")
    for folder in (root / "hub" / "models", root / "models", root / "hub", root):
        for form in (hub_id, hub_id.replace(".", "___")):
            if (folder / form / "config.yaml").is_file() and (folder / form / "model.pt").is_file():
                return folder / form
    return None


def _check_files(directory: Path, purpose: str) -> None:
    wanted = ["config.yaml", *_declared_files(directory, purpose)]
    if len(wanted) == 1:
        wanted.append("model.pt")
    missing = [name for name in dict.fromkeys(wanted) if not (directory / name).is_file()]
    if missing:
        raise EngineError(
            f"it lacks {', '.join(missing)}",
            operation=f"load {purpose}",
            path=directory,
            remedy="give a complete FunASR model directory (config.yaml, model.pt, am.mvn, tokens.json)",
        )


def _declared_files(directory: Path, purpose: str) -> list[str]:
    """The files that a directory's own list says it has."""
    path = directory / "configuration.json"
    if not path.is_file():
        return []
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as e:
        raise EngineError(
            f"configuration.json is not JSON: {e}",
            operation=f"load {purpose}",
            path=directory,
            remedy="fetch the model again",
        ) from e
    files: list[str] = []

    def collect(value: Any) -> None:
        if isinstance(value, str):
            files.append(value)
        elif isinstance(value, dict):
            for inner in value.values():
                collect(inner)
        elif isinstance(value, list):
            for inner in value:
                collect(inner)

    collect(content.get("file_path_metas", {}) if isinstance(content, dict) else {})
    return files
