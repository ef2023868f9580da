"""Draw error rates as an SVG picture. Pure; the same scores give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

from dropscribe.columns import shortened
from dropscribe.scoring.scores import FileScore, Total, worst_first

#: Most recordings that are drawn, those of the highest error rates.
MOST_FILES = 30
#: Colours for people with red-green colour blindness (Okabe and Ito), one a profile.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
WIDTH, LABEL_WIDTH, ROW_HEIGHT, MARGIN = 900, 300, 22, 24
_LABEL_COLUMNS = 36
_FONT = "font-family='Helvetica, Arial, Noto Sans CJK SC, sans-serif'"


def draw(totals: Sequence[Total], files: Sequence[FileScore]) -> bytes:
    """Bars of all profiles, then of the worst recordings, in per cent."""
    colours = {t.profile: COLOURS[i % len(COLOURS)] for i, t in enumerate(totals)}
    several = len(totals) > 1
    sections = [("All recordings", _totals(totals, colours, several=several))]
    shown = [f for f in worst_first(files) if f.score is not None][:MOST_FILES]
    for title, rows in (
        ("Characters (CER), worst recordings", _files(shown, colours, "characters", several=several)),
        ("Speakers (DER), worst recordings", _files(shown, colours, "speakers", several=several)),
    ):
        if rows:
            sections.append((title, rows))
    parts: list[str] = []
    y = MARGIN
    for title, rows in sections:
        y += ROW_HEIGHT
        parts.append(f"<text x='{MARGIN}' y='{y}' font-size='15' font-weight='bold'>{escape(title)}</text>")
        y += ROW_HEIGHT // 2
        most = max((rate for _, rate, _ in rows), default=0.0) or 1.0
        for label, rate, colour in rows:
            length = rate / most * (WIDTH - LABEL_WIDTH - 3 * MARGIN - 60)
            parts += [
                f"<text x='{LABEL_WIDTH + MARGIN - 8}' y='{y + 15}' font-size='12' text-anchor='end'>{escape(label)}</text>",
                f"<rect x='{LABEL_WIDTH + MARGIN}' y='{y + 3}' width='{max(length, 1):.1f}' height='{ROW_HEIGHT - 7}' fill='{colour}'/>",
                f"<text x='{LABEL_WIDTH + MARGIN + length + 8:.1f}' y='{y + 15}' font-size='12'>{rate * 100:.2f} %</text>",
            ]
            y += ROW_HEIGHT
        y += ROW_HEIGHT // 2
    height = y + MARGIN
    return "\n".join([
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH}' height='{height}' viewBox='0 0 {WIDTH} {height}' {_FONT}>",
        "<title>Error rates</title>",
        "<rect width='100%' height='100%' fill='white'/>",
        *parts,
        "</svg>",
        "",
    ]).encode()  # fmt: skip


_Row = tuple[str, float, str]


def _totals(totals: Sequence[Total], colours: dict[str, str], *, several: bool) -> list[_Row]:
    rows = []
    for name, part in (
        ("characters (CER)", "characters"),
        ("words (WER)", "words"),
        ("speakers (DER)", "speakers"),
    ):
        for t in totals:
            rate = getattr(t, part).rate
            if rate is not None:
                rows.append((f"{name}, {t.profile}" if several else name, rate, colours[t.profile]))
    return rows


def _files(files: Sequence[FileScore], colours: dict[str, str], part: str, *, several: bool) -> list[_Row]:
    rows = []
    for f in files:
        counted = getattr(f.score, part)
        if counted is not None and counted.rate is not None:
            name = shortened(f.name, _LABEL_COLUMNS - (len(f.profile) + 2 if several else 0))
            rows.append((f"{name}, {f.profile}" if several else name, counted.rate, colours[f.profile]))
    return rows
