"""Which events of the kernel lead to a look at a file."""

from __future__ import annotations

import os
from pathlib import Path

from dropscribe.intake.backends import InotifyBackend
from tests.support.intake import wait_until


def test_transcripts_are_not_looked_at_but_recordings_and_folders_of_any_name_are(tmp_path: Path) -> None:
    hints: list[str] = []
    backend = InotifyBackend(str(tmp_path), hints.append, lambda name: name.endswith((".txt", ".json")))
    try:
        descriptor = os.open(tmp_path, os.O_RDONLY)
        backend.enter(str(tmp_path), descriptor)
        os.close(descriptor)
        for name in (".talk.txt.dropscribe.tmp", "talk.txt", "talk.json"):
            (tmp_path / name).touch()
        (tmp_path / "folder.txt").mkdir()
        (tmp_path / "last.wav").touch()
        wait_until(lambda: str(tmp_path / "last.wav") in hints, "the recording is reported")
        assert {Path(hint).name for hint in hints} == {"folder.txt", "last.wav"}
    finally:
        backend.close()
