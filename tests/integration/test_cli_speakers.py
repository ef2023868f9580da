"""`dropscribe speakers`: enrol a voice from a recording, list and remove it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dropscribe.engine.models.store import SAMPLE
from dropscribe.errors import UsageError
from tests.support import command_line

MODELS = '[engine.models]\nasr = "paraformer-mini"\nvad = "vad-mini"\n[engine]\ndevice = "cpu"\n'


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "dropscribe.toml"
    path.write_text(f'database = "{tmp_path}/jobs.db"\n{MODELS}', encoding="utf-8")
    return path


def test_a_voice_is_enrolled_listed_and_removed(config: Path) -> None:
    done = command_line.process(
        "speakers", "enrol", "Anna  Li", str(SAMPLE), "--config", str(config), "--json"
    )
    assert done.returncode == 0, done.stderr
    (enrolled,) = json.loads(done.stdout)["speakers"]
    assert (enrolled["name"], enrolled["model"]) == ("Anna Li", "campplus-zh-en")
    assert "Anna Li" in command_line.call("speakers", "list", "--config", config)
    assert "no voices" in command_line.call("speakers", "remove", "Anna Li", "--config", config)
    with pytest.raises(UsageError, match="no voice of Anna Li"):
        command_line.call("speakers", "remove", "Anna Li", "--config", config)


def test_a_name_is_printable(config: Path) -> None:
    with pytest.raises(UsageError, match="name is empty"):
        command_line.call("speakers", "enrol", "  ", SAMPLE, "--config", config)
