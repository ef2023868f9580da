"""`dropscribe bench` with the bundled models: three contenders, a table, JSON and a chart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.support.command_line import process
from tests.support.long_forms import IN_SOAK

SAMPLE = (
    Path(__file__).resolve().parents[2]
    / "daemon"
    / "dropscribe"
    / "engine"
    / "bundled"
    / "sample"
    / "sample.wav"
)


@IN_SOAK
def test_all_three_contenders_get_the_same_recordings(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"this is no sound")
    out = tmp_path / "results" / "here"
    done = process(
        "bench", str(SAMPLE), str(broken), "--generate", "0.1", "--device", "cpu",
        "--out", str(out), "--json", cwd=tmp_path,
    )  # fmt: skip
    # One recording cannot be decoded; the others are measured nevertheless.
    assert done.returncode == 1, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert json.loads((out / "bench.json").read_text(encoding="utf-8")) == document
    assert (out / "bench.png").read_bytes()[:4] == b"\x89PNG"
    assert [r["name"] for r in document["runs"]] == ["stock", "calibrated", "dropscribe"]
    for run in document["runs"]:
        assert run["problem"] is None
        ends = {Path(r["file"]).name: r for r in run["recordings"]}
        assert len(ends) == 3
        assert ends["broken.wav"]["problem"]
        assert ends["sample.wav"]["problem"] is None
        assert ends["sample.wav"]["characters"] > 30
        assert 0 < run["first_text_s"] <= run["wall_s"]
        assert run["rtfx"] > 0
        assert run["host_bytes"] > 100 * 2**20
    # With fixed silence and the same model the text is identical to FunASR's.
    assert document["same_text"] == {"recordings": 2, "compared": 2}


def test_a_missing_recording_is_reported_before_measuring(tmp_path: Path) -> None:
    done = process("bench", "nowhere.wav", cwd=tmp_path)
    assert done.returncode == 2
    assert "nowhere.wav: no such file" in done.stderr
    assert list(tmp_path.iterdir()) == []
