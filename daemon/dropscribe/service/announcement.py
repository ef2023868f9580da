"""What the daemon says once, when it starts: nothing is in force silently."""

from __future__ import annotations

from dropscribe import __version__
from dropscribe.config import Loaded
from dropscribe.ledger.backend import library_warning


def announcement(loaded: Loaded) -> list[str]:
    """One line each: version and origin of the settings, models, database, folders, what to be warned of."""
    settings = loaded.settings
    origin = str(loaded.file) if loaded.file else "embedded defaults and command line"
    lines = [
        f"dropscribe {__version__}, settings from {origin}",
        f"model {settings.engine.models.asr}, VAD {settings.engine.models.vad}, device {settings.engine.device}",
        f"database {settings.database}",
        *(f"watching {f.path} (profile {f.profile})" for f in settings.folders),
    ]
    warning = library_warning()
    return lines if warning is None else [*lines, warning]
