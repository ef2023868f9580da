"""Where a model lies: bundled, in a directory, or on FunASR's hub. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.engine.models.families import RECOGNISERS, Kind, described, families_of, kind_of
from dropscribe.engine.models.model_config import CONFIG, FILE_LIST, ModelConfig, read_model_config
from dropscribe.errors import EngineError

#: The name of the models that need no torch (see `dropscribe.engine.models.null`).
NULL = "null"
BUNDLED = Path(__file__).parents[1] / "bundled"
BUNDLED_MODELS = ("paraformer-mini", "vad-mini")
SAMPLE = BUNDLED / "sample" / "sample.wav"

#: What a model is wanted for, as messages name it …
MODEL = "model"
VAD_MODEL = "VAD model"
#: … and what it has to be.
_WANTED = {
    MODEL: "speech recogniser that is supported",
    VAD_MODEL: "voice activity detector of the FSMN kind",
}
_WEIGHTS_ENDINGS = (".pt", ".pb", ".pth", ".bin", ".ckpt")
#: So many entries of a directory are searched for model directories, and so many of those are named in a message.
_LOOKED_THROUGH = 100
_NAMED = 3


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model directory that has been looked at."""

    name: str  #: as it was asked for
    directory: Path
    bundled: bool
    config: ModelConfig

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
    """Find and examine the directory of a model; `fetch` gets a name that is neither bundled nor a directory.

    `purpose` is MODEL or VAD_MODEL. Raises EngineError for a directory that is not whole, holds something else than
    is wanted, or is not safe to load.
    """
    operation = f"load {purpose}"
    given = Path(name).expanduser()
    if name in BUNDLED_MODELS:
        directory = BUNDLED / name
    elif given.is_dir():
        directory = given.resolve()
    elif given.exists():
        raise EngineError(
            "it is not a directory",
            operation=operation,
            path=given,
            remedy=f"give the directory that holds config.yaml and model.pt: {given.resolve().parent}",
        )
    elif name.startswith((".", "/", "~")):
        raise EngineError(
            "there is no such directory",
            operation=operation,
            path=given,
            remedy="give the directory that holds config.yaml and model.pt, or a FunASR model name",
        )
    else:
        directory = fetch(name)
    try:
        _explain(directory, operation)
    except OSError as e:
        raise EngineError(
            f"it cannot be read: {e.strerror}",
            operation=operation,
            path=directory,
            remedy="give the user that runs dropscribe the right to read it",
        ) from e
    config = read_model_config(directory, operation)
    _check_role(config, purpose)
    return ModelSource(name, directory, directory.resolve().is_relative_to(BUNDLED.resolve()), config)


def _explain(directory: Path, operation: str) -> None:
    """Raise EngineError for a directory that is plainly something else than a model directory, saying what it is."""
    names = sorted(path.name for path in directory.iterdir())
    if CONFIG in names or FILE_LIST in names:
        exported = [name for name in names if name.endswith(".onnx")]
        if exported and not any(name.endswith(_WEIGHTS_ENDINGS) for name in names):
            raise EngineError(
                f"it holds an ONNX export ({', '.join(exported)}) and no weights for PyTorch",
                operation=operation,
                path=directory,
                remedy="give the directory of the model that it was exported from (config.yaml, model.pt)",
            )
        return
    inner = sorted(_model_directories(directory, names))
    if not names:
        reason, remedy = "it is empty", "give a FunASR model directory (config.yaml, model.pt)"
    elif inner:
        reason = f"it is no model directory itself, but holds {', '.join(map(str, inner[:_NAMED]))}"
        remedy = f"give {directory / inner[0]}" + (", or another of them" if len(inner) > 1 else "")
    elif any(name.endswith(".onnx") for name in names):
        reason = "it holds an ONNX model and no config.yaml"
        remedy = "give the directory of the model that it was exported from (config.yaml, model.pt)"
    elif "config.json" in names:
        reason = "it lacks config.yaml: with its config.json it is a model for transformers, not for FunASR"
        remedy = "give a FunASR model directory (config.yaml, model.pt)"
    else:
        return
    raise EngineError(reason, operation=operation, path=directory, remedy=remedy)


def _model_directories(directory: Path, names: Sequence[str], depth: int = 3) -> Iterator[Path]:
    """Model directories below this one, relative to it: a hub's cache has them two or three further down."""
    for name in names[:_LOOKED_THROUGH]:
        inner = directory / name
        if not inner.is_dir():
            continue
        try:
            within = sorted(path.name for path in inner.iterdir())
        except OSError:
            continue
        if CONFIG in within:
            yield Path(name)
        elif depth > 1:
            for path in _model_directories(inner, within, depth - 1):
                yield name / path


def _check_role(config: ModelConfig, purpose: str) -> None:
    """Raise EngineError for a model that is of no use in the place where it was named."""
    kind = kind_of(config.family)
    wanted = {Kind.VAD} if purpose == VAD_MODEL else RECOGNISERS
    if kind in wanted:
        return
    if purpose == VAD_MODEL:
        known, official = families_of(Kind.VAD), "fsmn-vad, vad-mini"
    else:
        known = tuple(family for of in (Kind.PARAFORMER, Kind.SENSE_VOICE) for family in families_of(of))
        official = "paraformer-zh, iic/SenseVoiceSmall"
    remedy = f"name a directory of {', '.join(known)} there, or one of {official}"
    if kind is Kind.VAD:
        remedy = f"name it as engine.vad_model (--vad-model); {remedy}"
    elif kind in RECOGNISERS:
        remedy = f"name it as engine.model (--model); {remedy}"
    raise EngineError(
        f"it holds {described(config.family)}, and no {_WANTED[purpose]}",
        operation=f"load {purpose}",
        path=config.directory,
        remedy=remedy,
    )
