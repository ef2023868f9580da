"""Where a model lies: bundled, in a directory, or on FunASR's hub. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.engine.models.families import Kind, described, families_of, kind_of
from dropscribe.engine.models.model_config import CONFIG, FILE_LIST, ModelConfig, read_model_config
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR, VAD

#: The name of the models that need no torch (see `dropscribe.engine.models.null`).
NULL = "null"
BUNDLED = Path(__file__).parents[1] / "bundled"
BUNDLED_MODELS = ("paraformer-mini", "vad-mini")
SAMPLE = BUNDLED / "sample" / "sample.wav"


@dataclass(frozen=True, slots=True)
class _Role:
    """What a model has to be to fill a role, and how messages speak of it."""

    title: str
    wanted: str
    kinds: tuple[Kind, ...]
    official: str  #: models to name instead, by FunASR's names
    option: str  #: of the command line


#: What can fill a role; the roles are the fields of `dropscribe.settings.Models`.
_ROLES = {
    ASR: _Role(
        "model",
        "speech recogniser that is supported",
        (Kind.PARAFORMER, Kind.SENSE_VOICE, Kind.AUTO_MODEL),
        "paraformer-zh, iic/SenseVoiceSmall",
        "--model",
    ),
    VAD: _Role(
        "VAD model",
        "voice activity detector of the FSMN kind",
        (Kind.VAD,),
        "fsmn-vad, vad-mini",
        "--vad-model",
    ),
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


def resolve(name: str, role: str, fetch: Callable[[str], Path]) -> ModelSource:
    """Find and examine the directory of a model; `fetch` gets a name that is neither bundled nor a directory.

    `role`: a field of `dropscribe.settings.Models`. Raises EngineError for a directory that is not whole, holds something else than
    is wanted, or is not safe to load.
    """
    operation = f"load {_ROLES[role].title}"
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
    _check_role(config, role)
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


def _check_role(config: ModelConfig, role: str) -> None:
    """Raise EngineError for a model that is of no use in the role in which it was named."""
    kind, wanted = kind_of(config.family), _ROLES[role]
    if kind in wanted.kinds:
        return
    # What runs slower than the others, through FunASR itself, is not suggested.
    known = [family for of in wanted.kinds if of is not Kind.AUTO_MODEL for family in families_of(of)]
    remedy = f"name a directory of {', '.join(known)} there, or one of {wanted.official}"
    for name, other in _ROLES.items():
        if kind in other.kinds:
            remedy = f"name it as engine.models.{name} ({other.option}); {remedy}"
    raise EngineError(
        f"it holds {described(config.family)}, and no {wanted.wanted}",
        operation=f"load {wanted.title}",
        path=config.directory,
        remedy=remedy,
    )
