"""Names for the speakers of a recording, by comparing their voices with known ones (pure)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dropscribe.transcript.types import VOICE, Speaker

#: Least cosine of two voices that are taken for one person's. Those of strangers have mostly less than 0.4.
LEAST_COSINE = 0.5


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """A voice with a name. `embedding`: as `Speaker.embedding`, of the same model."""

    name: str
    embedding: bytes


def match(voices: Sequence[bytes], known: Sequence[KnownVoice]) -> tuple[str | None, ...]:
    """Name of each voice, or None: the most alike pair first, each voice and each name once.

    `voices`: embeddings as in `Speaker.embedding`; one that is empty or of another length has no name.
    """
    vectors = [_vector(voice) for voice in voices]
    others = [_vector(one.embedding) for one in known]
    pairs = sorted(
        (-_product(vector, other), i, k)
        for i, vector in enumerate(vectors)
        for k, other in enumerate(others)
        if vector and len(vector) == len(other)
    )
    names: dict[int, str] = {}
    for negative, i, k in pairs:
        if -negative < LEAST_COSINE:
            break
        if i not in names and known[k].name not in names.values():
            names[i] = known[k].name
    return tuple(names.get(i) for i in range(len(voices)))


def named(speakers: Sequence[Speaker], known: Sequence[KnownVoice]) -> tuple[Speaker, ...]:
    """The speakers, with names for those without one whose voice is known."""
    places = [i for i, one in enumerate(speakers) if needs_name(one)]
    found = match([speakers[i].embedding for i in places], known)
    names = dict(zip(places, found, strict=True))
    return tuple(
        replace(one, name=names[i]) if names.get(i) is not None else one for i, one in enumerate(speakers)
    )


def needs_name(speaker: Speaker) -> bool:
    """True for a voice without a name."""
    return speaker.kind == VOICE and speaker.name is None and bool(speaker.embedding)


def mean_voice(voices: Sequence[bytes], weights: Sequence[float]) -> bytes:
    """Mean direction of voices of one person, weighted. Raises ValueError for voices of different lengths, or none."""
    vectors = [_vector(voice) for voice in voices]
    summed = [
        sum(w * value for w, value in zip(weights, values, strict=True))
        for values in zip(*vectors, strict=True)
    ]
    length = _product(summed, summed) ** 0.5
    if not length:
        raise ValueError("there is no voice")
    return struct.pack(f"<{len(summed)}e", *(value / length for value in summed))


def alike(one: bytes, other: bytes) -> bool:
    """True if two voices are taken for one person's."""
    return _product(_vector(one), _vector(other)) >= LEAST_COSINE


def _vector(embedding: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(embedding) // 2}e", embedding[: len(embedding) // 2 * 2])


def _product(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))
