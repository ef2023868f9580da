"""Purpose of FunASR's model classes, and the supported ones.

Only classes that need nothing but FunASR's own code and the files of their directory are supported as recognisers:
others download further models while they are loaded, or run code shipped with the model.
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """Implementation that runs a model class."""

    PARAFORMER = "Paraformer"  #: `dropscribe.engine.models.paraformer.recogniser`
    SENSE_VOICE = "SenseVoice"  #: `dropscribe.engine.models.sense_voice.recogniser`
    AUTO_MODEL = "AutoModel"  #: `dropscribe.engine.models.automodel`
    VAD = "VAD"  #: `dropscribe.engine.vad.model`
    PUNCTUATION = "punctuation"  #: `dropscribe.engine.models.punctuation.model`
    SPEAKERS = "speakers"  #: `dropscribe.engine.models.speakers.stage`
    NONE = "none"  #: not supported


RECOGNISERS = frozenset({Kind.PARAFORMER, Kind.SENSE_VOICE, Kind.AUTO_MODEL})

_SUPPORTED: dict[Kind, tuple[str, ...]] = {
    Kind.PARAFORMER: ("BiCifParaformer", "Paraformer", "SeacoParaformer"),
    Kind.SENSE_VOICE: ("SenseVoiceSmall",),
    Kind.AUTO_MODEL: (
        *("Branchformer", "Conformer", "ContextualParaformer", "CTC", "EBranchformer", "EParaformer", "BAT"),
        *("LCBNet", "Paraformer_v2_community", "ParaformerStreaming", "SANM", "SCAMA", "Transducer"),
        *("Transformer", "UniASR"),
    ),
    Kind.VAD: ("FsmnVADStreaming",),
    Kind.PUNCTUATION: ("CTTransformer",),
    Kind.SPEAKERS: ("CAMPPlus",),
}
_KINDS = {family: kind for kind, families in _SUPPORTED.items() for family in families}

_LLM = "a speech recogniser built around a large language model"
#: Model classes that are not supported, and their purpose.
_PURPOSES: dict[str, str] = {
    "CTTransformerStreaming": "a punctuation model for live text",
    "ERes2NetV2": "a speaker model of another kind than CAM++",
    "Emotion2vec": "an emotion model",
    **dict.fromkeys(
        ("FsmnKWS", "FsmnKWSConvert", "FsmnKWSMT", "FsmnKWSMTConvert", "SanmKWS", "SanmKWSStreaming"),
        "a keyword spotting model",
    ),
    "MonotonicAligner": "a forced alignment model",
    "OpenAIWhisperLIDModel": "a language identification model",
    "SileroVad": "a voice activity detector that is not of the FSMN kind",
    **dict.fromkeys(("OpenAIWhisperModel", "WhisperWarp"), "a Whisper model, which needs other packages"),
    **dict.fromkeys(
        ("FunASRNano", "GLMASR", "LLMASR", "LLMASR2", "LLMASR3", "LLMASR4", "LLMASRNAR", "LLMASRNARPrompt"),
        _LLM,
    ),
    **dict.fromkeys(("Qwen3ASR", "QwenAudioWarp", "QwenAudioChatWarp", "MOSS-Transcribe-Diarize"), _LLM),
}


def kind_of(family: str) -> Kind:
    """Implementation that runs the model class `family`; NONE if it is unknown or not supported."""
    return _KINDS.get(family, Kind.NONE)


def families_of(kind: Kind) -> tuple[str, ...]:
    """Model classes of a kind."""
    return _SUPPORTED.get(kind, ())


def languages_of(family: str) -> tuple[str, ...]:
    """Languages that a profile may name for the official models of a class; () if they have no choice."""
    return ("en", "ja", "ko", "yue", "zh") if kind_of(family) is Kind.SENSE_VOICE else ()


def described(family: str) -> str:
    """Model class with its purpose for messages: `CTTransformer, a punctuation model`."""
    kind = kind_of(family)
    if kind in RECOGNISERS:
        return f"{family}, a speech recogniser"
    if kind is Kind.VAD:
        return f"{family}, a voice activity detector"
    if kind is Kind.PUNCTUATION:
        return f"{family}, a punctuation model"
    if kind is Kind.SPEAKERS:
        return f"{family}, a speaker model"
    if family in _PURPOSES:
        return f"{family}, {_PURPOSES[family]}"
    if family == family.lower():
        return f"'{family}', a name from before FunASR 1.0"
    return f"'{family}', a model class that is not known here"
