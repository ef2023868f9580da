"""Hotwords of a profile affect its folders only, and results are shared only between equal hotwords."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.support.daemon_process import DaemonProcess, wait_until, write_speech
from tests.support.engines import FUNASR_WARNS
from tests.support.seaco import FEW, MANY, Hotwords, random_seaco

pytestmark = FUNASR_WARNS


def quoted(words: Hotwords) -> str:
    return "[" + ", ".join(f'"{w}"' for w in words) + "]"


def test_a_changed_list_is_read_again_and_a_wrong_one_is_not_used(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("达摩院\n", encoding="utf-8")
    with DaemonProcess(
        tmp_path, model="null", extra=f"[profiles.default]\nhotwords_file = '{words}'\n"
    ) as daemon:
        daemon.wait_ready()
        words.write_text("x" * 60, encoding="utf-8")
        wait_until(lambda: "kept the settings" in str(daemon.actions("reload")), "the wrong list is told")
        assert "line 1 has 60 characters" in str(daemon.actions("reload"))
        words.write_text("达摩院\n通义千问 20\n", encoding="utf-8")
        wait_until(lambda: "now watching" in str(daemon.actions("reload")), "the list is read again")
        assert "weights are ignored" in str(daemon.actions("reload"))


def test_hotwords_apply_only_to_their_profile(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    more = f'[profiles.lab]\nhotwords = {quoted(FEW)}\n[[folder]]\npath = "{lab}"\nprofile = "lab"\nquiet_s = 0.5\n'
    model = random_seaco(tmp_path / "model")

    def transcribed(target: Path) -> str:
        write_speech(target)
        daemon.wait_for(target)
        return target.with_suffix(".txt").read_text(encoding="utf-8")

    with DaemonProcess(tmp_path, model=str(model), extra=more) as daemon:
        plain, biased = transcribed(daemon.inbox / "plain.wav"), transcribed(lab / "first.wav")
        assert plain != biased
        # The same content under the same hotwords is the same text …
        assert transcribed(lab / "again.wav") == biased
        changed = daemon.config.read_text(encoding="utf-8").replace(quoted(FEW), quoted(MANY))
        daemon.config.write_text(changed, encoding="utf-8")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGHUP)
        wait_until(lambda: daemon.actions("reload") != [], "the settings are read again")
        # … and under others another one.
        assert transcribed(lab / "later.wav") not in {plain, biased}
        (note,) = [line["event"] for line in daemon.actions("engine") if "hotwords" in line["event"]]
        assert note.endswith(": 上x, hello")
        recipes = daemon.rows("select distinct recipe from jobs")
        assert len(recipes) == 3
        assert daemon.stop() == 0
