"""Tags of language, emotion and sound event that some models write into their output, like <|zh|>. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

from dropscribe.transcript.types import NO_TAGS, Tags

#: A tag, anywhere in a text.
TAG = re.compile(r"<\|([^|]*)\|>")
_LANGUAGES = frozenset({"zh", "en", "yue", "ja", "ko", "nospeech"})
_EMOTIONS = frozenset({"happy", "sad", "angry", "neutral", "fearful", "disgusted", "surprised"})
#: Tags that say nothing: of the text's style, and that a question has no answer.
_SILENT = frozenset({"withitn", "woitn", "emo_unknown", "emo_unk", "event_unk", "event_unknown", "unk", ""})


def tags_of(names: Iterable[str]) -> Tags:
    """Tags from their names without brackets, in order. A name that is not known is a sound event."""
    language = emotion = ""
    events: dict[str, None] = {}
    for name in (n.lower() for n in names):
        if name in _LANGUAGES:
            language = language or name
        elif name in _EMOTIONS:
            emotion = emotion or name
        elif name not in _SILENT:
            events[name] = None
    return Tags(language, emotion, tuple(events)) if language or emotion or events else NO_TAGS
