"""Charts of the last day and month as bars of an SVG picture. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

#: Size of a chart, in its own units.
WIDTH, HEIGHT = 600.0, 120.0


@dataclass(frozen=True, slots=True)
class Span:
    """What ended in an hour or on a day."""

    label: str
    done: int
    failed: int
    audio_s: float


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of audio with one of failures on it, in units of the chart; `label`, `done`, … as of its `Span`."""

    x: float
    width: float
    audio: float
    failed: float
    span: Span


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars from left to right. `most_s`: audio of the highest one."""

    bars: tuple[Bar, ...]
    most_s: float
    done: int
    failed: int
    audio_s: float


def chart_of(spans: Sequence[Span]) -> Chart:
    """Draw spans in order. The height of a bar is its audio; that of failures their share of the recordings."""
    most = max((span.audio_s for span in spans), default=0.0)
    step = WIDTH / max(1, len(spans))
    bars = []
    for i, span in enumerate(spans):
        ended = span.done + span.failed
        # At least a trace of what is not nothing.
        audio = max(1.0, span.audio_s / most * HEIGHT) if span.audio_s and most else 0.0
        failed = max(3.0, span.failed / ended * HEIGHT) if span.failed else 0.0
        bars.append(
            Bar(
                round(i * step + step * 0.1, 2), round(step * 0.8, 2), round(audio, 2), round(failed, 2), span
            )
        )
    return Chart(
        tuple(bars),
        most,
        sum(s.done for s in spans),
        sum(s.failed for s in spans),
        sum(s.audio_s for s in spans),
    )
