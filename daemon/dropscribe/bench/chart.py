"""Draw the comparison as a chart. Needs matplotlib, which the extra `bench` installs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropscribe.bench.records import CALIBRATED, OURS, STOCK, Report, Run
from dropscribe.errors import StorageError, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Colours for people with red-green colour blindness (Okabe and Ito); dropscribe's is the most prominent.
COLOURS = {STOCK: "#999999", CALIBRATED: "#56B4E9", OURS: "#D55E00"}
LABELS = {STOCK: "stock FunASR", CALIBRATED: "FunASR, calibrated", OURS: "dropscribe"}
#: Inches and dots per inch: 1,650 pixels wide.
SIZE_IN, DPI = (11.0, 6.2), 150


def draw(report: Report, path: Path) -> None:
    """Write a PNG. Raises UsageError without matplotlib, StorageError."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional
        from matplotlib.figure import Figure  # noqa: PLC0415 - optional
        from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: PLC0415 - optional
    except ImportError as e:
        raise UsageError(
            f"it needs matplotlib: {e}",
            operation="draw chart",
            path=path,
            remedy="pip install 'dropscribe[bench]'",
        ) from e
    # Without pyplot, which has global state and needs a display.
    figure = Figure(figsize=SIZE_IN, layout=ConstrainedLayoutEngine(h_pad=0.15, w_pad=0.1), facecolor="white")
    FigureCanvasAgg(figure)  # registers itself as the figure's canvas
    panels = [p for p in _panels(report) if any(p.value(r) is not None for r in report.runs)]
    for place, panel in enumerate(panels, start=1):
        _bars(figure.add_subplot(2, (len(panels) + 1) // 2, place), report, panel)
    figure.suptitle(_headline(report), fontsize=13, fontweight="bold", x=0.01, ha="left")
    figure.supxlabel(_footnote(report), fontsize=8, color="#555555", x=0.01, ha="left")
    try:
        figure.savefig(path, dpi=DPI)
    except OSError as e:
        raise StorageError.from_system(
            e, operation="write chart", path=path, remedy="name another folder with --out"
        ) from e


@dataclass(frozen=True, slots=True)
class Panel:
    """One measure of all runs."""

    title: str
    unit: str  #: and whether more or less is better
    show: Callable[[float], str]
    value: Callable[[Run], float | None]


def _panels(report: Report) -> list[Panel]:
    return [
        Panel(
            "Speed (RTFx)",
            "audio seconds per second, more is better",
            _figure,
            lambda r: r.rtfx(report.lengths),
        ),
        Panel("Wall time per recording", "seconds, less is better", _seconds, Run.per_recording_s),
        Panel("First text", "seconds after the start, less is better", _seconds, lambda r: r.first_text_s),
        Panel(
            "GPU utilisation", "percent of the time, more is better", _percent, lambda r: r.usage.gpu_percent
        ),
        Panel("GPU memory", "GiB at its highest", _gib, lambda r: _in_gib(r.usage.gpu_bytes)),
        Panel("Host memory", "GiB at its highest", _gib, lambda r: _in_gib(r.usage.host_bytes)),
    ]


def _bars(axis: Axes, report: Report, panel: Panel) -> None:
    runs = list(reversed(report.runs))
    values = [panel.value(r) for r in runs]
    widths = [v or 0.0 for v in values]
    places = range(len(runs))
    axis.barh(places, widths, color=[COLOURS[r.name] for r in runs], height=0.62)
    axis.set_yticks(places, [LABELS[r.name] for r in runs], fontsize=9)
    axis.set_title(panel.title, fontsize=10.5, loc="left", fontweight="bold")
    axis.set_xlabel(panel.unit, fontsize=8, color="#555555", loc="left")
    most = max(widths, default=0.0) or 1.0
    axis.set_xlim(0, most * 1.25)  # leaves space for the numbers
    for place, v in zip(places, values, strict=True):
        text = "n/a" if v is None else panel.show(v)
        axis.text((v or 0.0) + most * 0.02, place, text, va="center", fontsize=9)
    axis.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axis.tick_params(left=False, bottom=False, labelbottom=False)


def _headline(report: Report) -> str:
    times = report.speedup(STOCK)
    if times is None:
        return "dropscribe beside FunASR"
    calibrated = report.speedup(CALIBRATED)
    more = "" if calibrated is None else f", {_figure(calibrated)} × calibrated"
    return f"dropscribe: {_figure(times)} × stock FunASR{more}"


def _footnote(report: Report) -> str:
    machine: dict[str, Any] = report.machine
    where = ", ".join([*machine["gpus"], f"{machine['cpus']} × {machine['cpu'] or 'CPU'}"])
    audio = sum(report.lengths.values())
    count = report.settings["recordings"]
    return (
        f"{count} recordings, {audio / 60:.1f} minutes · {report.settings['model']} + "
        f"{report.settings['vad_model']} · {where} · {report.created}"
    )


def _in_gib(value: int | None) -> float | None:
    return None if value is None else value / 2**30


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{value:,.1f} s" if value >= 10 else f"{value:.2f} s"


def _percent(value: float) -> str:
    return f"{value:.0f} %"


def _gib(value: float) -> str:
    return f"{value:.1f} GiB"
