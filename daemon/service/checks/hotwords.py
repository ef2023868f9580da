"""Hotwords: does the model take any, and can it spell those of the profiles? Read from its directory, without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from daemon.config import Settings
from daemon.engine import hotwords, models
from daemon.engine.model_config import ModelConfig
from daemon.errors import EngineError
from daemon.service.checks.record import Check, from_error, ok, warning

NAME = "hotwords"


def check_hotwords(settings: Settings) -> Iterator[Check]:
    """One for each profile that has hotwords. The model must be on this machine, or it is fetched."""
    profiles = {name: p.hotwords for name, p in settings.profiles.items() if p.hotwords}
    if not profiles:
        return
    config: ModelConfig | None = None
    try:
        if settings.engine.model != models.NULL:
            fetch = partial(models.fetch_from_hub, note=_unsaid)
            config = models.resolve(settings.engine.model, models.MODEL, fetch).config
    except EngineError as e:
        yield from_error(NAME, e)
        return
    for name, words in sorted(profiles.items()):
        complaint = hotwords.look(config, words) if config else hotwords.NO_HOTWORDS
        if complaint:
            remedy = f"change hotwords in [profiles.{name}], or engine.model"
            yield warning(f"{NAME}:{name}", complaint, remedy)
        else:
            yield ok(f"{NAME}:{name}", f"{len(words)}, all in the model's vocabulary")


def _unsaid(text: str) -> None:
    """The check of the model, which came first, has said that it is fetched."""
