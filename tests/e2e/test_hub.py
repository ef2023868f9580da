"""Model downloads by the real client and commands from a hub on 127.0.0.1."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from dropscribe.engine.models.hub import client
from dropscribe.engine.models.store import BUNDLED, SAMPLE
from dropscribe.errors import EngineError
from tests.support import forked
from tests.support.daemon_process import wait_until
from tests.support.hubs import FSMN_VAD, SEACO, Hub, command_environment, running_hub
from tests.support.long_forms import IN_SOAK

#: Options with FunASR's model names; and with the id of the detector only, which is faster to find.
BOTH = ("--model", "paraformer-zh", "--vad-model", "fsmn-vad", "--device", "cpu")
DETECTOR = ("--model", "paraformer-mini", "--vad-model", FSMN_VAD, "--device", "cpu")
#: Command prefix that drops root's right to read and write everything.
POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
Result = subprocess.CompletedProcess[str]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


def command(*arguments: str | Path, env: Mapping[str, str], before: list[str] | None = None) -> Result:
    """Run a command to its end."""
    return forked.run(
        [*(before or []), sys.executable, "-m", "dropscribe", *arguments],
        environment=env, cwd=env.get("HOME", "/"),
    )  # fmt: skip


def refused(
    *arguments: str | Path, env: Mapping[str, str], before: list[str] | None = None
) -> dict[str, Any]:
    """Error of `transcribe --json` without its model: one line on stderr and one document on stdout."""
    done = command("transcribe", SAMPLE, "--json", *arguments, env=env, before=before)
    assert done.returncode == 5, done.stderr
    error: dict[str, Any] = json.loads(done.stdout)["error"]
    told = [line for line in done.stderr.splitlines() if line.startswith("dropscribe: ")]
    assert len(told) == 1, done.stderr
    assert error["reason"] in told[0]
    others = [line for line in done.stderr.splitlines() if line not in told]
    assert all("fetching" in line for line in others), done.stderr
    assert len(error["reason"]) + len(error["remedy"]) < 600
    return error


#: Fetches the detector with an environment; returns reason and remedy of the error.
Fetch = Callable[[dict[str, str]], tuple[str, str]]


def fetch_in_vain(environment: dict[str, str]) -> tuple[str, str]:
    os.environ.clear()
    os.environ.update(environment)
    from modelscope_hub import set_default_config  # noqa: PLC0415 - comes with the client

    set_default_config(None)  # the next use reads the environment again
    with pytest.raises(EngineError) as raised:
        client.locate(FSMN_VAD, lambda _: None)
    return raised.value.reason, raised.value.remedy


@pytest.fixture(scope="module")
def fetch() -> Iterator[Fetch]:
    """What every command does to fetch a model, in one process for all ways to fail.

    The client has the limits of time of the environment that it is imported in.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        yield lambda environment: pool.submit(fetch_in_vain, environment).result(timeout=120)


def snapshot(cache: Path, hub_id: str) -> Path:
    """Directory of a model's files in the client's cache."""
    return next(p.parent for p in cache.rglob("README.md") if hub_id.split("/")[1] in str(p))


def test_the_daemon_uses_models_fetched_by_the_doctor_without_network(hub: Hub, home: Path) -> None:
    folder = home / "drop"
    folder.mkdir()
    env = hub.environment(home)
    done = command("doctor", "--json", "--watch", folder, *BOTH, env=env)
    checks = {c["name"]: c for c in json.loads(done.stdout)["checks"]}
    assert checks["model"]["status"] == "ok", done.stderr
    for name, hub_id in (("paraformer-zh", SEACO), ("fsmn-vad", FSMN_VAD)):
        assert f"fetching {name} ({hub_id}) from {hub.address}" in done.stderr
        assert f"fetched {name} ({hub_id})" in done.stderr
    offline = command_environment(home, MODELSCOPE_ENDPOINT="http://127.0.0.1:9")
    daemon = subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "run", "--watch", folder, *BOTH],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=offline, cwd=home,
    )  # fmt: skip
    assert daemon.stderr is not None
    for line in daemon.stderr:
        if '"action": "ready"' in line:
            break
    daemon.send_signal(signal.SIGTERM)
    output, _ = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, "it never was ready"
    assert output == ""


def test_a_killed_download_is_not_used_as_a_model_and_resumes(hub: Hub, home: Path) -> None:
    hub.held["model.pt"] = 256 * 1024
    fetching = subprocess.Popen(
        [sys.executable, "-m", "dropscribe", "transcribe", SAMPLE, *DETECTOR],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=hub.environment(home), cwd=home,
    )  # fmt: skip
    assert hub.holding.wait(120)
    wait_until(lambda: any(p.stat().st_size for p in home.rglob("*.incomplete")), "bytes have arrived")
    children = psutil.Process(fetching.pid).children(recursive=True)
    fetching.kill()
    fetching.communicate()
    assert psutil.wait_procs(children, timeout=60)[1] == [], "nothing goes on fetching"
    offline = command_environment(home, MODELSCOPE_ENDPOINT="http://127.0.0.1:9")
    assert "connection refused" in refused(*DETECTOR, env=offline)["reason"]
    hub.go_on.set()
    done = command("transcribe", SAMPLE, *DETECTOR, env=hub.environment(home))
    assert done.returncode == 0, done.stderr
    assert [first > 0 for name, first in hub.asked if name == "model.pt"] == [False, True]
    whole = (BUNDLED / "vad-mini" / "model.pt").read_bytes()
    assert (snapshot(home, FSMN_VAD) / "model.pt").read_bytes() == whole


def test_a_file_that_is_gone_or_cut_short_is_fetched_again(hub: Hub, home: Path) -> None:
    env = hub.environment(home)
    assert command("models", "fetch", FSMN_VAD, env=env).returncode == 0
    directory = snapshot(home, FSMN_VAD)
    os.truncate(directory / "model.pt", 1000)
    (directory / "am.mvn").unlink()
    before = len(hub.asked)
    assert command("transcribe", SAMPLE, *DETECTOR, env=env).returncode == 0
    assert {name for name, _ in hub.asked[before:]} == {"", "model.pt", "am.mvn"}


@IN_SOAK
def test_two_engines_fetch_a_model_once(hub: Hub, home: Path) -> None:
    hub.held["model.pt"] = 256 * 1024
    threading.Timer(3.0, hub.go_on.set).start()
    done = command("transcribe", SAMPLE, *DETECTOR[:4], "--device", "cpu,cpu", env=hub.environment(home))
    assert done.returncode == 0, done.stderr
    assert len([name for name, _ in hub.asked if name == "model.pt"]) == 1


def breaks(hub: Hub, **how: Any) -> None:
    for name, value in how.items():
        setattr(hub, name, value)


def test_a_failing_hub_is_reported_in_one_line(hub: Hub, home: Path) -> None:
    hub.damaged = {"model.pt"}
    error = refused(*DETECTOR, env=hub.environment(home))
    assert "model.pt: it arrives damaged" in error["reason"]
    assert "MODELSCOPE_" in error["remedy"]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"damaged": {"model.pt"}}, "model.pt: it arrives damaged"),
        ({"status": {"": 500}}, "HTTP 500"),
        ({"status": {"model.pt": 503}}, "model.pt: the hub answers with HTTP 503"),
        ({"status": {"": 403}}, "access is refused"),
        ({"status": {"am.mvn": 404}}, "am.mvn: the hub answers with HTTP 404"),
        ({"models": {}}, "no model of this name"),
        ({"held": {"": -1}}, "does not answer in time"),
        ({"held": {"model.pt": -1}}, "model.pt: the hub does not answer in time"),
        ({"held": {"model.pt": 256 * 1024}}, "model.pt: "),
        ({"page": b"<html>Please log in</html>"}, "not from a model hub"),
        ({"page": b'{"Code": 200, "Data": {"Files": []}}'}, "it lists no files"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_how_a_hub_fails_is_said(hub: Hub, fetch: Fetch, home: Path, how: dict[str, Any], words: str) -> None:
    breaks(hub, **how)
    reason, remedy = fetch(hub.environment(home))
    assert words in reason
    assert FSMN_VAD in reason
    assert hub.address in reason
    assert "MODELSCOPE_" in remedy


@pytest.mark.parametrize(
    ("endpoint", "words"),
    [
        ("http://127.0.0.1:9", "connection refused"),
        ("http://hub.invalid", "cannot be resolved"),
        ("https://127.0.0.1:{port}", "certificate"),
        ("http://[", "not the address of a hub"),
    ],
)
def test_a_missing_hub_is_told_from_a_failing_one(
    hub: Hub, fetch: Fetch, home: Path, endpoint: str, words: str
) -> None:
    endpoint = endpoint.format(port=hub.address.split(":")[1])
    reason, remedy = fetch(command_environment(home, MODELSCOPE_ENDPOINT=endpoint))
    assert words in reason
    assert "MODELSCOPE_ENDPOINT" in remedy or "CA_BUNDLE" in remedy or "https://host" in remedy


def test_a_host_that_never_answers_is_given_up(fetch: Fetch, home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = command_environment(home, MODELSCOPE_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert "does not answer in time" in fetch(env)[0]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("paraformer-hz", "did you mean 'paraformer-zh'"),
        ("no-such", "owner/model"),
        ("https://hub/iic/x", "owner/model"),
        ("a/b/c", "owner/model"),
        ("iic/..", "owner/model"),
    ],
)
def test_an_invalid_hub_name_is_none_of_the_hub(name: str, words: str) -> None:
    with pytest.raises(EngineError) as raised:
        client.hub_id_of(name)
    assert name in raised.value.reason
    assert words in raised.value.remedy


def test_an_invalid_hub_name_causes_no_request(hub: Hub, home: Path) -> None:
    error = refused("--model", "paraformer-hz", "--device", "cpu", env=hub.environment(home))
    assert "did you mean 'paraformer-zh'" in error["remedy"]
    assert hub.asked == []


@IN_SOAK
def test_a_model_by_its_hub_id_with_a_dot_in_its_name(home: Path) -> None:
    with running_hub({"some_one/vad-v2.0.4": BUNDLED / "vad-mini"}) as hub:
        arguments = ("--model", "paraformer-mini", "--vad-model", "some_one/vad-v2.0.4", "--device", "cpu")
        env = hub.environment(home)
        assert command("models", "fetch", "some_one/vad-v2.0.4", env=env).returncode == 0
        asked = len(hub.asked)
        done = command("transcribe", SAMPLE, *arguments, env=env)
        assert done.returncode == 0, done.stderr
        assert len(hub.asked) == asked


@IN_SOAK
def test_a_model_that_an_earlier_client_has_fetched_is_found(home: Path) -> None:
    directory = home / ".cache/modelscope/hub/models" / FSMN_VAD
    shutil.copytree(BUNDLED / "vad-mini", directory)
    offline = command_environment(home, MODELSCOPE_ENDPOINT="http://127.0.0.1:9")
    assert command("transcribe", SAMPLE, *DETECTOR, env=offline).returncode == 0
    (directory / "am.mvn").unlink()
    assert "connection refused" in refused(*DETECTOR, env=offline)["reason"]


@IN_SOAK
def test_another_cache_that_may_only_be_read_is_enough_once_the_model_is_there(hub: Hub, home: Path) -> None:
    cache = home / "elsewhere"
    env = hub.environment(home, MODELSCOPE_CACHE=str(cache))
    assert command("models", "fetch", FSMN_VAD, env=env).returncode == 0
    assert not (home / ".cache" / "modelscope" / "models").exists()
    asked = len(hub.asked)
    for path in (cache, *cache.rglob("*"), home):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        done = command("transcribe", SAMPLE, *DETECTOR, env=env, before=POWERLESS)
    finally:
        for path in (home, cache, *(p for p in cache.rglob("*") if p.is_dir())):
            path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert len(hub.asked) == asked


def test_a_cache_that_may_not_be_written_to_is_reported_with_its_path(hub: Hub, home: Path) -> None:
    home.chmod(0o555)
    try:
        done = subprocess.run(
            [*POWERLESS, sys.executable, "-m", "dropscribe", "transcribe", SAMPLE, "--json", *DETECTOR],
            capture_output=True, text=True, check=False, env=hub.environment(home), cwd="/", timeout=280,
        )  # fmt: skip
    finally:
        home.chmod(0o755)
    error = json.loads(done.stdout)["error"]
    assert str(home) in error["reason"], error
    assert "MODELSCOPE_CACHE" in error["remedy"]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("variable", ["HOME", "MODELSCOPE_CACHE"])
def test_a_cache_in_a_file_is_reported_with_its_path(
    hub: Hub, fetch: Fetch, home: Path, variable: str
) -> None:
    (home / "file").write_text("")
    reason, remedy = fetch(hub.environment(home) | {variable: str(home / "file")})
    assert str(home) in reason
    assert "MODELSCOPE_CACHE" in remedy


def test_a_user_without_a_home_directory(hub: Hub, home: Path) -> None:
    env = {k: v for k, v in hub.environment(home).items() if k != "HOME"}
    # An unknown user id, mapped to the user that runs the test.
    stranger = ["unshare", "--user", "--map-user=61234", "--map-group=61234"]
    if subprocess.run([*stranger, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no other user can be had here")
    error = refused(*DETECTOR, env=env, before=stranger)
    assert "no home directory" in error["reason"]
    assert "HOME" in error["remedy"]


def test_a_full_disk_is_reported_and_downloaded_bytes_are_kept(hub: Hub, fetch: Fetch, home: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    disk = home / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    try:
        env = hub.environment(home, MODELSCOPE_CACHE=str(disk))
        assert f"no space is left in {disk}" in fetch(env)[0]
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        done = command("models", "fetch", FSMN_VAD, env=env)
        assert done.returncode == 0, done.stderr
        assert [first > 0 for name, first in hub.asked if name == "model.pt"] == [False, True]
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


@IN_SOAK
def test_the_doctor_and_the_daemon_report_the_same(home: Path) -> None:
    (home / "drop").mkdir()
    env = command_environment(home, MODELSCOPE_ENDPOINT="http://127.0.0.1:9")
    checks = json.loads(command("doctor", "--json", "--watch", home / "drop", *BOTH, env=env).stdout)[
        "checks"
    ]
    model = next(c for c in checks if c["name"] == "model")
    assert model["status"] == "fail"
    for words in (f"paraformer-zh ({SEACO})", "127.0.0.1:9", "connection refused"):
        assert words in model["detail"]
    done = command("run", "--watch", home / "drop", *BOTH, env=env)
    assert done.returncode == 5
    assert model["detail"] in done.stderr.splitlines()[-1]
    assert model["remedy"] in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
