"""Models by role: how a model is named in JSON documents and in recipes, given the role it has in the engine.

The roles themselves are the fields of `dropscribe.settings.Models`.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Speech recognition and voice activity detection, the two roles without which there is no transcript.
ASR = "asr"
VAD = "vad"
PUNCTUATION = "punctuation"
#: Telling speakers apart.
SPEAKERS = "speakers"

#: Name of the null models, which recognise nothing (see `dropscribe.engine.models.null`).
NULL = "null"

#: (role, model) of every role that is filled, in the order of `dropscribe.settings.Models`.
ModelsByRole = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class ModelSet:
    """The models that work on the recordings of a profile, by name; "" for a role that it does not use."""

    asr: str
    vad: str
    punctuation: str = ""
    speakers: str = ""

    def by_role(self) -> ModelsByRole:
        """(role, model) of every role that has a model."""
        named = (
            (ASR, self.asr),
            (VAD, self.vad),
            (PUNCTUATION, self.punctuation),
            (SPEAKERS, self.speakers),
        )
        return tuple((role, model) for role, model in named if model)


#: The recogniser's key, in documents, and what the keys of the other roles end with.
_ASR_KEY = "model"
_SUFFIX = "_model"


def key_of(role: str) -> str:
    """The key of a role in JSON documents: "model" for the recogniser, else "vad_model", "punctuation_model", …"""
    return _ASR_KEY if role == ASR else f"{role}{_SUFFIX}"


def role_of(key: str) -> str | None:
    """The role that a key of a JSON object stands for; None for a key that names no model."""
    if key == _ASR_KEY:
        return ASR
    return key.removesuffix(_SUFFIX) if key.endswith(_SUFFIX) else None


def recipe_of(models: ModelsByRole) -> str:
    """What the models contribute to a recipe: `paraformer-zh|fsmn-vad`, each further role as `|role=model`.

    The model of speakers does not: profiles that ask for speakers name it (`dropscribe.settings.Settings.recipe`).
    """
    named = dict(models)
    further = [f"{role}={model}" for role, model in models if role not in {ASR, VAD, SPEAKERS}]
    return "|".join([named[ASR], named[VAD], *further])
