"""Check that the model supports the hotwords of the profiles, from its directory, without loading it."""

from __future__ import annotations

from collections.abc import Iterator

from dropscribe.config import Settings
from dropscribe.doctor.checks.languages import stored
from dropscribe.doctor.checks.record import Check, from_error, ok, warning
from dropscribe.engine.core.interfaces import NO_HOTWORDS
from dropscribe.engine.models import store
from dropscribe.engine.models.text import hotwords
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR, NULL

NAME = "hotwords"


def check_hotwords(settings: Settings) -> Iterator[Check]:
    """One check per profile with hotwords. A model that is not on this machine is not downloaded."""
    for name, profile in sorted(settings.profiles.items()):
        if not profile.hotwords:
            continue
        model = settings.model_set(profile).asr
        try:
            config = None if model == NULL else store.resolve(model, ASR, stored).config
        except EngineError as e:
            yield from_error(f"{NAME}:{name}", e)
            continue
        complaint = hotwords.complaint_of(config, profile.hotwords) if config else NO_HOTWORDS
        if complaint:
            remedy = f"change hotwords in [profiles.{name}], or its model"
            yield warning(f"{NAME}:{name}", complaint, remedy)
        else:
            yield ok(f"{NAME}:{name}", f"{len(profile.hotwords)}, all in the model's vocabulary")
