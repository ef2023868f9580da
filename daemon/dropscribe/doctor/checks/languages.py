"""Check that the models of profiles know the language that these name, without loading them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from dropscribe.config import Settings
from dropscribe.doctor.checks.record import Check, from_error, ok, warning
from dropscribe.engine.models import store
from dropscribe.engine.models.families import languages_of
from dropscribe.engine.models.hub import client as hub
from dropscribe.engine.protocol import AUTO
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR, NULL

NAME = "language"


def check_languages(settings: Settings) -> Iterator[Check]:
    """One check per profile with a language. A model that is not on this machine is not downloaded."""
    for name, profile in sorted(settings.profiles.items()):
        if profile.language == AUTO:
            continue
        model = settings.model_set(profile).asr
        try:
            known = () if model == NULL else languages_of(store.resolve(model, ASR, stored).config.family)
        except EngineError as e:
            yield from_error(f"{NAME}:{name}", e)
            continue
        if profile.language in known:
            yield ok(f"{NAME}:{name}", f"{profile.language}, which {model} knows")
            continue
        what = f"it knows {', '.join(known)}" if known else "it has no choice of languages"
        yield warning(
            f"{NAME}:{name}",
            f"{model} does not know the language {profile.language} ({what}), so it is left out",
            f"change language in [profiles.{name}], or its model",
        )


def stored(name: str) -> Path:
    """Local directory of a model of the hub. Raises EngineError: the daemon's user may have another cache."""
    directory = hub.find(name)
    if directory is None:
        raise EngineError(
            f"{name} is not in the model cache of this user, so nothing is known of it",
            operation="find model",
            remedy="run the doctor as the user of the daemon, with the same HOME and MODELSCOPE_CACHE",
        )
    return directory
