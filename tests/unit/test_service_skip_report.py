"""When skipped files are logged, and in how many lines."""

from __future__ import annotations

from pathlib import Path

from dropscribe.intake.types import Skip
from dropscribe.service.admission.skip_report import AGAIN_S, COLLECT_MOST_S, COLLECT_S, EACH, SkipReport

INBOX, OTHER = Path("/srv/inbox"), Path("/srv/other")


def skip(number: int, *, folder: Path = INBOX, code: str = "extension", reason: str = "no recording") -> Skip:
    return Skip(folder, folder / f"{number}.dat", code, reason, 0.0)


def test_few_files_are_named_and_many_are_counted() -> None:
    report = SkipReport()
    for i in range(EACH):
        report.take(skip(i), 0.0)
    for i in range(2000):
        report.take(skip(i, folder=OTHER), 0.0)
    assert report.due(COLLECT_S / 2) == []
    lines = report.due(COLLECT_S)
    named = [line for line in lines if line.folder == INBOX]
    assert [line.path for line in named] == [INBOX / f"{i}.dat" for i in range(EACH)]
    assert named[0].message == "0.dat: skipped: no recording"
    (counted,) = (line for line in lines if line.folder == OTHER)
    assert (counted.path, counted.count) == (None, 2000)
    assert counted.message.startswith("/srv/other: 2,000 files skipped: no recording; ")
    assert report.due(1000.0) == []


def test_folders_and_codes_have_lines_of_their_own_and_reasons_share_one() -> None:
    report = SkipReport()
    for i in range(100):
        report.take(
            skip(i, code="unreadable", reason="permission denied" if i % 4 else "input/output error"), 0.0
        )
        report.take(skip(i, reason=f".x{i} is no recording extension"), 0.0)
        report.take(skip(i, folder=OTHER), 0.0)
    lines = report.due(COLLECT_S)
    assert [(line.folder, line.code, line.count) for line in lines] == [
        (INBOX, "unreadable", 100), (INBOX, "extension", 100), (OTHER, "extension", 100),
    ]  # fmt: skip
    assert "permission denied (75 of them; 1 other reasons)" in lines[0].message


def test_a_burst_is_one_line_though_it_takes_longer_than_the_collection() -> None:
    report = SkipReport()
    said = []
    for now in range(20):
        for i in range(10):
            report.take(skip(now * 10 + i), float(now))
        said += report.due(float(now), more=True)
    said += report.due(20.0)
    assert [line.count for line in said] == [200]
    assert COLLECT_MOST_S > 20.0


def test_files_that_never_cease_cost_one_line_a_minute() -> None:
    report = SkipReport()
    lines = []
    hour_s = 3600
    for now in range(hour_s):
        for i in range(50):
            report.take(skip(now * 50 + i), float(now))
        lines += report.due(float(now), more=True)
    assert len(lines) <= hour_s / AGAIN_S + 1
    lines += report.due(float(hour_s), ending=True)
    assert sum(line.count for line in lines) == 50 * hour_s


def test_a_single_file_after_a_burst_is_named() -> None:
    report = SkipReport()
    for i in range(1000):
        report.take(skip(i), 0.0)
    report.due(COLLECT_S)
    report.take(skip(5000), COLLECT_S + 1)
    assert report.due(2 * COLLECT_S + 1) == []
    (line,) = report.due(COLLECT_S + AGAIN_S)
    assert line.path == INBOX / "5000.dat"
