"""Find a model: bundled, in a directory, or on FunASR's hub. Does not import torch."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dropscribe.engine.models.families import Kind, described, families_of, kind_of
from dropscribe.engine.models.model_config import CONFIG, FILE_LIST, ModelConfig, read_model_config
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR, PUNCTUATION, SPEAKERS, VAD

BUNDLED = Path(__file__).parents[1] / "bundled"
BUNDLED_MODELS = ("paraformer-mini", "vad-mini", "ct-punc-mini", "campplus-zh-en")
SAMPLE = BUNDLED / "sample" / "sample.wav"


@dataclass(frozen=True, slots=True)
class _Role:
    """Requirements of a role, and its names in messages."""

    title: str
    wanted: str  #: description of a suitable model
    kinds: tuple[Kind, ...]
    official: str  #: suggested models, by their FunASR names
    option: str  #: command line option


#: The roles; they are the fields of `dropscribe.settings.Models`.
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
    PUNCTUATION: _Role(
        "punctuation model",
        "punctuation model that is supported",
        (Kind.PUNCTUATION,),
        "ct-punc, ct-punc-c, ct-punc-mini",
        "punctuation of a profile",
    ),
    SPEAKERS: _Role(
        "speaker model",
        "speaker model that is supported",
        (Kind.SPEAKERS,),
        "cam++, campplus-zh-en",
        "in dropscribe.toml",
    ),
}
_WEIGHTS_ENDINGS = (".pt", ".pb", ".pth", ".bin", ".ckpt")
#: Most entries of a directory that are searched for model directories.
_LOOKED_THROUGH = 100
#: Most model directories named in a message.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A checked model directory."""

    name: str  #: as given in the settings
    directory: Path
    bundled: bool
    config: ModelConfig

    @property
    def notice(self) -> str | None:
        """Notice for every transcript made with a demonstration model; None for other models."""
        return notice_of(self.directory.name) if self.bundled else None


def notice_of(name: str) -> str | None:
    """Notice for a transcript made with this recogniser; None for one that is not bundled."""
    if name not in BUNDLED_MODELS:
        return None
    return (
        f"Made with the demonstration model {name}: of clear Mandarin about one character in five is wrong, of anything "
        "else most."
    )


def resolve(name: str, role: str, fetch: Callable[[str], Path]) -> ModelSource:
    """Find and check the directory of a model; `fetch` is called with a name that is neither bundled nor a directory.

    `role`: a field of `dropscribe.settings.Models`. Raises EngineError for a directory that is incomplete, contains
    another kind of model, or is not safe to load.
    """
    operation = f"load {_ROLES[role].title}"
    given = Path(os.path.expanduser(name))  # noqa: PTH111 - Path raises for an unknown user
    if name in BUNDLED_MODELS:
        directory = BUNDLED / name
    elif (there := _is_directory(given, operation)) is True:
        directory = given.resolve()
    elif there is False:
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
        raise _unreadable(e, operation, directory) from e
    config = read_model_config(directory, operation)
    _check_role(config, role)
    return ModelSource(name, directory, directory.resolve().is_relative_to(BUNDLED.resolve()), config)


def _is_directory(given: Path, operation: str) -> bool | None:
    """True for a directory, False for another file, None if there is none.

    A bare name in a current directory that cannot be entered is the name of a model. Raises EngineError for a path that
    cannot be examined.
    """
    try:
        return stat.S_ISDIR(given.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as e:
        if not given.is_absolute():
            return None
        raise _unreadable(e, operation, given) from e


def _unreadable(error: OSError, operation: str, directory: Path) -> EngineError:
    return EngineError(
        f"it cannot be read: {error.strerror}",
        operation=operation,
        path=directory,
        remedy="give the user that runs dropscribe the right to read it",
    )


def _explain(directory: Path, operation: str) -> None:
    """Raise EngineError, with a description, for a directory that is clearly not a FunASR model directory."""
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
    """Model directories at most `depth` levels below a directory, as relative paths; hub caches nest them that deep."""
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
    """Raise EngineError for a model that does not suit its role."""
    kind, wanted = kind_of(config.family), _ROLES[role]
    if kind in wanted.kinds:
        return
    # Models that run through FunASR itself are slower, so they are not suggested.
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
