"""Draw statistics of ended jobs: as bars of text, and as an SVG picture. Pure; the same totals give the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from dropscribe import durations
from dropscribe.columns import columns, shortened
from dropscribe.scoring.chart import COLOURS
from dropscribe.views.stats import WAITING, brief, hours, name_of, percent

if TYPE_CHECKING:
    from dropscribe.ledger.questions import JobTotals, Part

#: Most groups that are drawn: the last ones.
MOST_GROUPS = 120
#: Sizes, pixels. The widest label has about this many columns.
WIDTH, ROW_HEIGHT, MARGIN, LABEL_COLUMNS = 1000, 20, 24, 34
_FONT = "font-family='Helvetica, Arial, Noto Sans CJK SC, sans-serif'"
#: Room for the number behind a bar, pixels.
_NUMBER = 66
#: Eighths of a block character.
_EIGHTHS = " ▏▎▍▌▋▊▉"


@dataclass(frozen=True, slots=True)
class _Panel:
    """One column of bars: its title, the value of a group (None: no bar), and the value in words."""

    title: str
    value: Callable[[JobTotals], float | None]
    text: Callable[[JobTotals], str]


_PANELS = (
    _Panel("Audio, hours", lambda t: t.audio_s, lambda t: hours(t.audio_s)),
    _Panel("Speed, × real time", lambda t: t.rtfx, lambda t: durations.speed(t.recognised_s, t.processing_s)),
    _Panel("Waiting, p95", lambda t: _waiting(t, 0.95), lambda t: brief(_waiting(t, 0.95))),
    _Panel("Failed", lambda t: t.failed_share, lambda t: percent(t.failed_share)),
)


def bars(values: Sequence[float], width: int, *, blocks: bool) -> list[str]:
    """A bar of at most `width` characters for each value, the largest one the longest; without `blocks` in ASCII."""
    most = max(values, default=0.0)
    if most <= 0 or width < 1:
        return [""] * len(values)
    drawn = []
    for value in values:
        # At least a trace of what is not nothing.
        eighths = max(int(value > 0), round(value / most * width * 8))
        whole, rest = divmod(eighths, 8)
        if blocks:
            drawn.append("█" * whole + (_EIGHTHS[rest] if rest else ""))
        else:
            drawn.append("#" * max(int(value > 0), round(value / most * width)))
    return drawn


def draw(groups: Sequence[JobTotals], by: Sequence[Part], title: str) -> bytes:
    """An SVG picture: a row for each group, with bars for audio, speed, waiting and failures."""
    shown = groups[-MOST_GROUPS:]
    left_out = len(groups) - len(shown)
    names = [shortened(name_of(t, by), LABEL_COLUMNS) for t in shown]
    first = MARGIN + 8 + 7 * max((columns(name) for name in names), default=0)
    step = (WIDTH - MARGIN - first) / len(_PANELS)
    top = 3 * ROW_HEIGHT + MARGIN
    heading = f"{title} ({left_out} earlier rows are not drawn)" if left_out else title
    parts = [
        f"<text x='{MARGIN}' y='{MARGIN + 12}' font-size='15' font-weight='bold'>{escape(heading)}</text>"
    ]
    for i, name in enumerate(names):
        y = top + i * ROW_HEIGHT
        if i % 2 == 0:
            parts.append(
                f"<rect x='{MARGIN}' y='{y}' width='{WIDTH - 2 * MARGIN}' height='{ROW_HEIGHT}' fill='#f4f4f4'/>"
            )
        parts.append(
            f"<text x='{first - 8}' y='{y + 14}' font-size='12' text-anchor='end'>{escape(name)}</text>"
        )
    for k, panel in enumerate(_PANELS):
        x = first + k * step
        parts.append(
            f"<text x='{x:.1f}' y='{top - 8}' font-size='12' font-weight='bold'>{escape(panel.title)}</text>"
        )
        values = [panel.value(t) for t in shown]
        most = max((v for v in values if v is not None), default=0.0) or 1.0
        for i, (totals, value) in enumerate(zip(shown, values, strict=True)):
            if value is None:
                continue
            y = top + i * ROW_HEIGHT
            length = max(value / most * (step - _NUMBER), 1 if value else 0)
            parts += [
                f"<rect x='{x:.1f}' y='{y + 4}' width='{length:.1f}' height='{ROW_HEIGHT - 8}' fill='{COLOURS[k]}'/>",
                f"<text x='{x + length + 5:.1f}' y='{y + 14}' font-size='11'>{escape(panel.text(totals))}</text>",
            ]
    height = top + len(shown) * ROW_HEIGHT + MARGIN
    return "\n".join([
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}' {_FONT}>",
        f"<title>{escape(title)}</title>",
        "<rect width='100%' height='100%' fill='white'/>",
        *parts,
        "</svg>",
        "",
    ]).encode()  # fmt: skip


def _waiting(totals: JobTotals, share: float) -> float | None:
    found = totals.stages.get(WAITING)
    return None if found is None else found.quantile_s(share)
