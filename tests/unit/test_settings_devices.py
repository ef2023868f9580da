"""Valid values of `engine.device`, and the engine processes they result in."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe.config import EngineSettings, embedded
from dropscribe.engine.gpu_probe import count_gpus
from dropscribe.errors import ConfigError
from dropscribe.pipeline.local import engine_plan
from dropscribe.pipeline.local.engine_plan import devices_of, gpus_of, settings_of


def settings(device: object, **more: object) -> EngineSettings:
    return EngineSettings.model_validate({"device": device} | more)


def no_gpus() -> int:
    return 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("auto", ("auto",)),
        ("cpu", ("cpu",)),
        ("cuda:3", ("cuda:3",)),
        (["cuda:1"], ("cuda:1",)),
        (["cuda:0", "cuda:2"], ("cuda:0", "cuda:2")),
        ("cuda:0,cuda:2", ("cuda:0", "cuda:2")),
        (["cpu", "cpu"], ("cpu", "cpu")),
        (["cuda:0", "cuda:0", "cuda:1"], ("cuda:0", "cuda:0", "cuda:1")),
    ],
)
def test_devices(written: object, meant: tuple[str, ...]) -> None:
    found = settings(written)
    assert devices_of(found, no_gpus) == meant
    assert settings(found.device) == found, "what is shown can be written"


@pytest.mark.parametrize(
    ("written", "word"),
    [
        ("gpu", "no device 'gpu'"),
        ("cuda:", "no device 'cuda:'"),
        ("", "no device ''"),
        ([], "empty"),
        (["cuda", "cuda:0"], "in a list"),
        (["auto", "cpu"], "in a list"),
        (["cpu", "cuda:0"], "one kind"),
        (3, "list"),
        ([0, 1], "list"),
    ],
)
def test_an_invalid_device_is_an_error(written: object, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        settings(written)


def test_an_invalid_device_on_the_command_line_names_the_field() -> None:
    with pytest.raises(ConfigError, match=r"engine\.device: there is no device 'cuda1'"):
        embedded((), device="cuda:1, cuda1")


def test_cuda_is_every_gpu() -> None:
    assert devices_of(settings("cuda"), lambda: 3) == ("cuda:0", "cuda:1", "cuda:2")


def test_cuda_without_a_gpu_is_one_engine_which_will_report_the_error() -> None:
    assert devices_of(settings("cuda"), no_gpus) == ("cuda:0",)


def test_cores_are_divided_between_engines_unless_threads_are_set() -> None:
    two = ("cpu", "cpu")
    made = settings_of(settings(two), two, cores=5)
    assert [(s.device, s.threads) for s in made] == [("cpu", 2), ("cpu", 2)]
    assert [s.threads for s in settings_of(settings(two), two, cores=1)] == [1, 1]
    assert [s.threads for s in settings_of(settings(two, threads=7), two, cores=2)] == [7, 7]
    assert [s.threads for s in settings_of(settings("cpu"), ("cpu",), cores=8)] == [None]


def test_processes_of_one_gpu_share_its_memory_unless_their_share_is_set() -> None:
    three = ("cuda:0", "cuda:0", "cuda:1")
    made = settings_of(settings(three), three, cores=8)
    assert [s.gpu_memory for s in made] == [0.45, 0.45, None]
    made = settings_of(settings(three, gpu_memory=0.3), three, cores=8)
    assert [s.gpu_memory for s in made] == [0.3, 0.3, 0.3]


def test_gpus_are_counted_by_the_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert count_gpus() == 0


def test_a_failed_count_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert count_gpus() == 0


@pytest.mark.parametrize(
    ("device", "gpus"),
    [("auto", 1), ("cuda", 3), ("cuda:1, cuda:2", 2), ("cuda:1, cuda:1", 1), ("cpu, cpu", 0)],
)
def test_the_gpus_that_an_engine_uses_are_counted_once(
    device: str, gpus: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_plan, "_NODES", (str(tmp_path),))
    assert gpus_of(settings(device), lambda: 3) == gpus
    monkeypatch.setattr(engine_plan, "_NODES", (str(tmp_path / "none"),))
    assert gpus_of(settings(device), lambda: 3) == 0
