"""Decide what of a recording is transcribed apart, and join what is known about its parts. Pure policy.

Apart are its tracks, or the channels of one track, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from dropscribe.media.protocol import CHANNELS_IF_CALL, CHANNELS_MIXED
from dropscribe.media.sources.sides import Sides
from dropscribe.media.sources.source import Source, SourceFacts
from dropscribe.media.sources.source_channel import ChannelSource
from dropscribe.media.sources.tracks import ALL, AUTO, MIX
from dropscribe.transcript.types import (
    CHANNEL,
    GAP,
    MOST_PARTS,
    MOST_SPEAKERS,
    TRACK,
    UNDECODABLE,
    UNREAD,
    Loss,
)

#: Distance of losses in two parts that are one, ms: the frames of codecs differ.
_SAME_MS = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """What is decoded as one: a recording, or a part of it.

    `track`: as in `DecodeOrder`, but not "all". `kind`, `number`: as of `Part`; "" and 0 for a whole recording. `last`: it
    is the last channel. `averaged`: it is the only channel, all of those that the recording has.
    """

    track: int | str
    kind: str = ""
    number: int = 0
    last: bool = False
    averaged: bool = False

    @property
    def label(self) -> str:
        """The part for people: `track 2`; "" for a whole recording."""
        return f"{self.kind} {self.number}" if self.kind else ""

    def of(self, source: Source) -> Source:
        """What is chosen of a source of the track; takes over `source`."""
        if self.kind != CHANNEL or self.averaged:
            return source
        return ChannelSource(source, self.number, last=self.last)


def plan_parts(
    facts: SourceFacts, track: int | str, channels: str, listen: Callable[[], Sides]
) -> tuple[Choice, ...]:
    """Choose what is decoded of a recording of which `track` is open, in this order; several are parts.

    `track`, `channels`: as in `DecodeOrder`. `listen` is called only if its answer matters. A recording with several
    tracks and `track` "all" has its tracks as parts, not the channels of each.
    """
    if track == ALL:
        usable = [t.number for t in facts.tracks if t.channels and t.number <= MOST_SPEAKERS]
        if len(usable) > 1:
            return tuple(Choice(number, TRACK, number) for number in usable[:MOST_PARTS])
        track = AUTO
    if channels == CHANNELS_MIXED:
        return (Choice(track),)
    mixed = track == MIX and len(facts.tracks) > 1
    sides = listen() if facts.channels == 2 and not mixed else Sides.OTHER
    if channels == CHANNELS_IF_CALL and sides is not Sides.CALL:
        return (Choice(track),)
    if facts.channels < 2 or mixed or sides is Sides.ALIKE:
        return (Choice(track, CHANNEL, 1, averaged=True),)
    count = min(facts.channels, MOST_PARTS)
    return tuple(Choice(track, CHANNEL, n, n == count) for n in range(1, count + 1))


def joined_warnings(parts: Sequence[tuple[str, Sequence[str]]]) -> tuple[str, ...]:
    """The warnings about parts, by their names, each once; one that not all parts have is preceded by the name."""
    found: dict[str, None] = {}
    for name, warnings in parts:
        for text in warnings:
            everywhere = all(text in others for _, others in parts)
            found[text if everywhere else f"{name}: {text}"] = None
    return tuple(found)


def joined_losses(parts: Sequence[tuple[str, Sequence[Loss]]]) -> tuple[Loss, ...]:
    """The losses of parts, by their names, each once, by kind and position; one that not all parts have names them.

    Losses of the same kind and about the same place and length are the same.
    """
    found: list[tuple[Loss, list[str]]] = []
    for name, losses in parts:
        for loss in losses:
            known = next((names for other, names in found if _same(loss, other)), None)
            if known is None:
                found.append((loss, [name]))
            elif name not in known:
                known.append(name)
    kinds = (GAP, UNDECODABLE, UNREAD)
    found.sort(key=lambda one: (kinds.index(one[0].kind), one[0].start_ms))
    return tuple(
        loss if len(names) == len(parts) else replace(loss, text=f"{', '.join(names)}: {loss.text}")
        for loss, names in found
    )


def _same(a: Loss, b: Loss) -> bool:
    if a.kind != b.kind or a.places != b.places or (a.length_ms is None) != (b.length_ms is None):
        return False
    return (
        abs(a.start_ms - b.start_ms) <= _SAME_MS and abs((a.length_ms or 0) - (b.length_ms or 0)) <= _SAME_MS
    )
