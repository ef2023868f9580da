"""Folders with models of their own; one whose model cannot be loaded waits, and the others go on."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

from tests.support.daemon_process import BUNDLED, DaemonProcess, wait_until, write_speech
from tests.support.engines import FUNASR_WARNS

pytestmark = FUNASR_WARNS


def engine_of(recording: Path) -> dict[str, str]:
    engine: dict[str, str] = json.loads(recording.with_suffix(".json").read_text(encoding="utf-8"))["engine"]
    return engine


def test_each_folder_has_its_models_and_a_missing_one_holds_its_folder_only(tmp_path: Path) -> None:
    folders = {name: tmp_path / name for name in ("real", "missing")}
    model = tmp_path / "model"
    more = ""
    for name, asr in (("real", "paraformer-mini"), ("missing", str(model))):
        folders[name].mkdir()
        more += (
            f'[profiles.{name}.models]\nasr = "{asr}"\nvad = "vad-mini"\n'
            f'[[folder]]\npath = "{folders[name]}"\nprofile = "{name}"\nquiet_s = 0.5\n'
        )
    with DaemonProcess(tmp_path, model="null", extra=more) as daemon:
        null, real, missing = (
            folder / "a.wav" for folder in (daemon.inbox, folders["real"], folders["missing"])
        )
        for recording in (missing, null, real):
            write_speech(recording)
        daemon.wait_for(null)
        daemon.wait_for(real)
        assert engine_of(null)["model"] == "null"
        assert engine_of(real) | {"punctuation_model": "ct-punc-mini"} == engine_of(real)
        assert engine_of(real)["model"] == "paraformer-mini"
        assert "speakers_model" not in engine_of(real)
        wait_until(lambda: "held: " in daemon.status(), "the job is held")
        status = daemon.status()
        assert f"{model} (asr) cannot be loaded" in status
        assert "there is no such directory" in status
        assert "paraformer-mini (asr, loaded)" in status
        assert daemon.state(missing) == "queued"
        shutil.copytree(BUNDLED / "paraformer-mini", model)
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        daemon.wait_for(missing)
        assert engine_of(missing)["model"] == str(model)
        assert missing.with_suffix(".txt").read_text(encoding="utf-8")
        ((attempts,),) = daemon.rows("select attempts from jobs where profile = 'missing'")
        assert attempts == 1, "waiting for a model is no attempt"
        assert daemon.stop() == 0
