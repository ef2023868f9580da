"""Measures of the comparison, generated recordings, resource sampling, and the chart."""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dropscribe.bench import chart, gauge, material
from dropscribe.bench.comparison import contenders, measure
from dropscribe.bench.contenders import Ended, Heard
from dropscribe.bench.records import CALIBRATED, OURS, STOCK, Recording, Report, Run, Usage, first_text
from dropscribe.bench.stock_funasr import StockPlan
from dropscribe.config import embedded
from dropscribe.errors import EngineError, UsageError

A, B = Path("/r/a.wav"), Path("/r/b.wav")
NOT_SEEN = Usage(None, None, None)


def run(
    name: str, wall_s: float, *texts: str | None, usage: Usage = NOT_SEEN, problem: str | None = None
) -> Run:
    """A run of recordings A, B, …; text None: the recording failed."""
    recordings = tuple(
        Recording(path, 0.0, wall_s, text or "", "broken" if text is None else None)
        for path, text in zip((A, B), texts, strict=False)
    )
    return Run(name, {}, "cpu", 1.0, wall_s, first_text(recordings, None), usage, recordings, problem)


def report(*runs: Run) -> Report:
    settings = {"model": "m", "vad_model": "v", "device": "cpu", "recordings": 2, "generated": False}
    machine: dict[str, Any] = {"cpus": 2, "cpu": None, "memory_bytes": 1, "gpus": [], "kernel": "k"}
    return Report("2026-01-01T00:00:00Z", machine, {}, settings, {A: 60.0, B: 40.0}, runs)


def test_speed_counts_only_what_was_transcribed() -> None:
    one = report(run(STOCK, 50.0, "x", None), run(OURS, 2.0, "x", "y"))
    assert one.runs[0].rtfx(one.lengths) == pytest.approx(60 / 50)
    assert one.speedup(STOCK) == pytest.approx((100 / 2) / (60 / 50))
    assert not one.runs[0].whole
    assert one.runs[1].whole
    assert one.runs[1].per_recording_s() == pytest.approx(1.0)


def test_unknown_measures_are_null_and_no_division_by_zero() -> None:
    one = report(run(STOCK, 0.0, problem="no memory"), run(OURS, 2.0, None, None))
    document = one.document()
    assert document["schema"] == "dropscribe/bench/1"
    assert document["speedup"] == {"stock": None, "calibrated": None}
    assert [r["rtfx"] for r in document["runs"]] == [None, None]
    assert document["runs"][0]["problem"] == "no memory"
    assert document["runs"][1]["recordings"][0]["problem"] == "broken"
    assert document["runs"][0]["gpu_percent"] is None


def test_texts_are_compared_without_spaces_where_both_contenders_have_one() -> None:
    one = report(run(CALIBRATED, 1.0, "今 天", "昨 天"), run(OURS, 1.0, "今\n天", "明天"))
    assert one.same_text() == (1, 2)
    assert report(run(CALIBRATED, 1.0, "今", None), run(OURS, 1.0, "今", "天")).same_text() == (1, 1)


def test_the_first_text_is_the_earliest_of_any_kind() -> None:
    silent, late = Recording(A, 0, 1.0, "", None), Recording(B, 0, 5.0, "x", None)
    assert first_text([silent, late], None) == 5.0
    assert first_text([silent, late], 2.0) == 2.0
    assert first_text([silent], None) is None


@pytest.mark.parametrize("minutes", [0.01, 0.5, 1.0, 10.0, 61.7])
def test_generated_recordings_have_the_requested_length(minutes: float) -> None:
    planned = material.lengths(minutes)
    assert sum(planned) == pytest.approx(max(minutes * 60, material.LEAST_S))
    assert min(planned) >= material.LEAST_S


def test_generated_recordings_are_written_and_differ(tmp_path: Path) -> None:
    made = material.generate(tmp_path, 1.0)
    assert [p.stat().st_size - 44 for p in made] == [round(s * 16_000) * 2 for s in material.lengths(1.0)]
    contents = [p.read_bytes()[44:] for p in made]
    assert contents[0] != contents[1][: len(contents[0])]


def test_devices_are_named_as_nvidia_smi_names_them() -> None:
    assert gauge.gpu_ids(("cpu",), None) == ()
    assert gauge.gpu_ids(("cuda:0", "cuda:2"), None) == ("0", "2")
    assert gauge.gpu_ids(("cuda:1",), "3,GPU-5f") == ("GPU-5f",)
    assert gauge.gpu_ids(("cuda:1",), "3") == ()


def test_lines_of_nvidia_smi_are_parsed() -> None:
    assert gauge.parse("1, 37, 1024\n", 5.0) == gauge.Reading(5.0, "1", 37.0, 2**30)
    assert gauge.parse("0, [N/A], [N/A]", 5.0) is None
    assert gauge.parse("", 5.0) is None


def test_utilisation_is_that_of_the_run_and_memory_is_above_the_initial_value() -> None:
    def reading(at: float, gpu: str, percent: float, used: int) -> gauge.Reading:
        return gauge.Reading(at, gpu, percent, used)

    readings = [reading(0, "0", 0, 100), reading(0, "1", 0, 50), reading(2, "0", 80, 900)]
    readings += [reading(2, "1", 40, 60), reading(9, "0", 0, 100)]
    assert gauge.usage(readings, 7, 1.0, 3.0) == Usage(60.0, 810, 7)
    assert gauge.usage([], None, 0.0, 1.0) == NOT_SEEN


def test_resident_memory_of_this_process_is_found_and_of_an_ended_one_is_zero() -> None:
    assert gauge.resident_bytes(os.getpid()) > 10 * 2**20
    assert gauge.resident_bytes(2**22 + 1) == 0


def test_calibrated_differs_from_stock_in_options_only() -> None:
    plain = StockPlan("m", "v", "cpu", calibrated=False, threads=7)
    assert plain.construction() == {"disable_update": True}
    assert plain.generation() == plain.environment() == {}
    calibrated = StockPlan("m", "v", "cpu", calibrated=True, threads=7)
    assert calibrated.construction()["ncpu"] == 7
    assert calibrated.construction()["vad_kwargs"] == {"dynamic_silence": False}
    assert calibrated.generation()["batch_size_s"] > 300


def test_the_null_model_cannot_be_compared() -> None:
    with pytest.raises(UsageError, match="recognises nothing"):
        contenders(embedded((), model="null", vad_model="null").settings)


def test_all_contenders_use_the_configured_models_and_device() -> None:
    three = contenders(embedded((), device="cpu").settings)
    assert [c.name for c in three] == [STOCK, CALIBRATED, OURS]
    assert {c.devices for c in three} == {("cpu",)}


class Scripted:
    """A contender with scripted events."""

    name = OURS

    def __init__(self, *events: Ended | Heard, problem: str | None = None) -> None:
        self.options: dict[str, Any] = {}
        self.devices: tuple[str, ...] = ("cpu",)
        self._events, self._problem, self.closed = events, problem, False

    def open(self, files: Sequence[Path]) -> int:
        return os.getpid()

    def wait_ready(self) -> str:
        return "cpu"

    def run(self) -> Iterator[Ended | Heard]:
        yield from self._events
        if self._problem:
            raise EngineError(self._problem, operation="run")

    def close(self) -> None:
        self.closed = True


def test_an_aborted_run_keeps_its_recordings_and_the_reason() -> None:
    # Far in the past, so that the run starts with the first recording.
    contender = Scripted(Heard(-90.0), Ended(A, -100.0, -80.0, "x", None, 60.0), problem="out of memory")
    notes: list[str] = []
    outcome = measure(contender, [A, B], notes.append)
    assert contender.closed
    assert outcome.lengths == {A: 60.0}
    assert [(r.path, r.began_s, r.finished_s) for r in outcome.run.recordings] == [(A, 0.0, 20.0)]
    assert outcome.run.problem == "run: out of memory"
    assert not outcome.run.whole
    assert outcome.run.usage.host_bytes
    assert notes == ["dropscribe: loading", "dropscribe: 1 of 2"]


def test_the_chart_is_drawn_with_missing_measures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    seen = Usage(93.0, 2**31, 2**30)
    for number, one in enumerate(
        (report(run(STOCK, 50.0, "x", "y"), run(OURS, 2.0, "x", "y", usage=seen)), report(run(STOCK, 0.0)))
    ):
        path = tmp_path / f"{number}.png"
        chart.draw(one, path)
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_without_matplotlib_the_error_names_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("matplotlib"):
            raise ImportError("No module named 'matplotlib'")
        return honest(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError) as caught:
        chart.draw(report(run(OURS, 1.0, "x")), tmp_path / "c.png")
    assert "dropscribe[bench]" in caught.value.remedy
