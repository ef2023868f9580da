"""`dropscribe models` with the real client and a hub on 127.0.0.1."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from dropscribe.engine.models import funasr_parts
from dropscribe.engine.models.hub import receipt
from dropscribe.engine.models.hub.known import KNOWN
from dropscribe.engine.models.store import BUNDLED, BUNDLED_MODELS
from tests.support import forked
from tests.support.daemon_process import wait_until
from tests.support.hubs import FSMN_VAD, Hub, command_environment, running_hub
from tests.support.terminal import shown_on

Done = subprocess.CompletedProcess[str]
NOWHERE = "http://127.0.0.1:9"
#: More than the files beside the weights have, bytes.
LITTLE = 1 << 16


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


def models(*arguments: str, home: Path, env: Mapping[str, str]) -> Done:
    return forked.run([sys.executable, "-m", "dropscribe", "models", *arguments], environment=env, cwd=home)


def listed(done: Done) -> dict[str, dict[str, Any]]:
    document = json.loads(done.stdout)
    assert document["schema"] == "dropscribe/models/1"
    return {m["name"]: m for m in document["models"]}


def test_known_models_are_those_of_funasr_and_the_bundled_ones() -> None:
    assert {m.name for m in KNOWN if m.hub_id is None} == set(BUNDLED_MODELS)
    for model in KNOWN:
        if model.hub_id is not None and model.name != model.hub_id:
            assert funasr_parts.hub_names()[model.name] == model.hub_id
            assert model.size


def test_a_model_is_fetched_verified_damaged_and_fetched_again(hub: Hub, tmp_path: Path) -> None:
    env = hub.environment(tmp_path)
    offline = command_environment(tmp_path, MODELSCOPE_ENDPOINT=NOWHERE)
    before = models("list", "--json", home=tmp_path, env=offline)
    assert listed(before)["fsmn-vad"]["state"] == "absent"
    assert listed(before)["paraformer-mini"]["used"]

    done = models("fetch", "fsmn-vad", home=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    first = done.stderr.splitlines()[0]
    size = sum(p.stat().st_size for p in (BUNDLED / "vad-mini").iterdir()) / 1e6
    assert first.startswith(f"fsmn-vad: {size:.1f} MB from {hub.address} into {tmp_path}")

    done = models("path", "fsmn-vad", home=tmp_path, env=offline)
    directory = Path(done.stdout.rstrip("\n"))
    assert (directory / "model.pt").read_bytes() == (BUNDLED / "vad-mini" / "model.pt").read_bytes()
    fetched = listed(models("list", "--json", home=tmp_path, env=offline))["fsmn-vad"]
    assert (fetched["state"], fetched["directory"]) == ("cached", str(directory))
    assert (fetched["role"], fetched["licence"], fetched["hub_id"]) == ("vad", "Apache-2.0", FSMN_VAD)
    assert models("verify", "fsmn-vad", home=tmp_path, env=offline).returncode == 0

    with (directory / "model.pt").open("r+b") as file:
        file.seek(1000)
        file.write(b"\0\xff\0\xff")
    done = models("verify", home=tmp_path, env=offline)
    assert done.returncode == 1
    assert "fsmn-vad: model.pt has another content than was downloaded" in done.stdout
    assert "dropscribe models fetch fsmn-vad" in done.stderr
    damaged = listed(models("verify", "--json", home=tmp_path, env=offline))["fsmn-vad"]
    assert damaged["state"] == "damaged"
    assert [p["file"] for p in damaged["problems"]] == ["model.pt"]

    asked = len(hub.asked)
    done = models("fetch", "fsmn-vad", "--json", home=tmp_path, env=env)
    assert listed(done)["fsmn-vad"]["state"] == "cached"
    assert {name for name, _ in hub.asked[asked:] if name} == {"model.pt"}
    assert models("verify", "fsmn-vad", home=tmp_path, env=offline).returncode == 0
    asked = len(hub.asked)
    assert models("fetch", "fsmn-vad", home=tmp_path, env=offline).returncode == 0, "nothing is left to fetch"
    assert len(hub.asked) == asked


def test_a_copy_without_recorded_checksums_is_compared_with_the_hub(hub: Hub, tmp_path: Path) -> None:
    env = hub.environment(tmp_path)
    assert models("fetch", FSMN_VAD, home=tmp_path, env=env).returncode == 0
    found = next(tmp_path.rglob(receipt.RECEIPT))
    # As earlier versions wrote it.
    found.write_text(json.dumps({n: f.size for n, f in (receipt.read(found.parent) or {}).items()}))
    done = models(
        "verify", "fsmn-vad", home=tmp_path, env=command_environment(tmp_path, MODELSCOPE_ENDPOINT=NOWHERE)
    )
    assert done.returncode == 5
    assert "connection refused" in done.stderr
    assert models("verify", "fsmn-vad", home=tmp_path, env=env).returncode == 0


def test_a_killed_fetch_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    hub.held["model.pt"] = 256 * 1024
    with subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "models", "fetch", "fsmn-vad"],
        stderr=subprocess.DEVNULL, env=hub.environment(tmp_path), cwd=tmp_path,
    ) as fetching:  # fmt: skip
        assert hub.holding.wait(60)
        wait_until(
            lambda: any(p.stat().st_size > LITTLE for p in tmp_path.rglob("*.incomplete")),
            "bytes of the model have arrived",
        )
        fetching.kill()
    hub.go_on.set()
    assert models("path", "fsmn-vad", home=tmp_path, env=hub.environment(tmp_path)).returncode == 1
    assert models("fetch", "fsmn-vad", home=tmp_path, env=hub.environment(tmp_path)).returncode == 0
    assert [first > 0 for name, first in hub.asked if name == "model.pt"] == [False, True]


def test_a_mirror_and_the_models_of_the_configuration_at_a_terminal(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "dropscribe.toml").write_text(
        '[engine.models]\nasr = "paraformer-mini"\nvad = "fsmn-vad"\n', encoding="utf-8"
    )
    screen, terminal = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "models", "fetch", "--mirror", f"http://{hub.address}"],
        stdout=subprocess.DEVNULL, stderr=terminal, cwd=tmp_path,
        env=command_environment(tmp_path, MODELSCOPE_ENDPOINT=NOWHERE, TERM="xterm"),
    )  # fmt: skip
    os.close(terminal)
    shown = shown_on(screen)
    os.close(screen)
    assert command.wait(60) == 0, shown
    assert b"paraformer-mini: bundled, nothing to fetch" in shown
    assert b"1.6/1.6 MB" in shown, "the bar"


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["fetch", "fsmn-vad"], 5, ["connection refused", "dropscribe models fetch fsmn-vad"]),
        (["fetch", "paraformer-hz"], 5, ["did you mean 'paraformer-zh'"]),
        (["fetch", "fsmn-vad", "--mirror", "ftp://x"], 2, ["'ftp://x' is not the address of a hub"]),
        (["path", "fsmn-vad"], 1, ["fsmn-vad is not on this machine", "dropscribe models fetch fsmn-vad"]),
        (["path", "/none"], 1, ["/none is not on this machine"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_an_error_is_one_line_and_a_document(
    tmp_path: Path, arguments: list[str], status: int, words: list[str]
) -> None:
    done = models(
        *arguments, "--json", home=tmp_path, env=command_environment(tmp_path, MODELSCOPE_ENDPOINT=NOWHERE)
    )
    assert done.returncode == status
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr
    assert json.loads(done.stdout)["error"]["exit_code"] == status
