"""Each check of the doctor, with values for which it passes and fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from dropscribe.config import Folder
from dropscribe.doctor.checks import clock, device, folders, manager, model, python, record, storage, watching
from dropscribe.doctor.checks.record import Check, Level
from dropscribe.engine.gpu_probe import Gpu, Hardware, from_json
from dropscribe.errors import ConfigError
from dropscribe.intake.filesystem import FileSystem
from dropscribe.transcript.types import EngineFacts

GIB = 1024**3


def card(**changes: object) -> Gpu:
    values: dict[str, object] = {
        "name": "Test GPU",
        "capability": (9, 0),
        "total_bytes": 80 * GIB,
        "free_bytes": 79 * GIB,
        "computes": True,
    }
    return Gpu(**(values | changes))  # type: ignore[arg-type]


def hardware(
    *,
    built: tuple[int, int] | None = (12, 8),
    driver: tuple[int, int] | None = (12, 8),
    gpus: tuple[Gpu, ...] = (),
    problem: str | None = None,
) -> Hardware:
    return Hardware("2.13.0", built, driver, gpus, problem)


NODES = ("nvidia-uvm", "nvidia0", "nvidiactl")


def holds(check: Check, level: Level, *words: str) -> None:
    assert check.status is level, check
    for word in words:
        assert word in f"{check.detail} → {check.remedy}", check
    assert bool(check.remedy) == (level is not Level.OK), "a problem has a remedy, health has none"


class TestPython:
    def test_new_enough(self) -> None:
        holds(python.check_python((3, 11, 0)), Level.OK, "3.11.0")

    def test_too_old(self) -> None:
        holds(python.check_python((3, 10, 9)), Level.FAIL, "3.10.9", "3.11")

    @pytest.mark.parametrize(
        ("requirement", "version", "level"),
        [
            ("watchdog>=7.1", "7.1.0", Level.OK),
            ("watchdog>=7.1", "7.0.9", Level.FAIL),
            ("watchdog>=7.1", "10.0", Level.OK),
            ("watchdog>=7.1", None, Level.FAIL),
            ("funasr[knf]<1.5,>=1.4.16", "1.4.16", Level.OK),
            ("funasr[knf]<1.5,>=1.4.16", "1.5.0", Level.FAIL),
            ("torch>=2.8", "2.13.0+cpu", Level.OK),
            ("pysqlite3>=0.6; sys_platform == 'linux'", None, Level.OK),
            ("ruff>=0.8; extra == 'dev'", None, Level.OK),
        ],
    )
    def test_packages(self, requirement: str, version: str | None, level: Level) -> None:
        name = requirement.split("[", maxsplit=1)[0].split(">", maxsplit=1)[0]
        holds(python.check_packages([requirement], {name: version}), level)

    def test_this_environment_is_in_order(self) -> None:
        holds(python.look_packages(), Level.OK, "torch", "watchdog")

    def test_a_distribution_that_is_not_installed(self) -> None:
        holds(python.look_packages("dropscribe-is-not-this"), Level.FAIL, "not installed")


class TestTorchAndDriver:
    def test_torch_is_missing(self) -> None:
        broken = Hardware(None, None, None, (), "torch cannot be imported: libfoo.so")
        holds(device.check_torch(broken, (), "auto"), Level.FAIL, "libfoo.so")

    @pytest.mark.parametrize(
        ("built", "driver", "nodes", "setting", "level"),
        [
            (None, None, (), "auto", Level.OK),
            (None, None, (), "cuda:0", Level.FAIL),
            (None, (12, 4), NODES, "auto", Level.WARNING),
            (None, (12, 4), NODES, "cpu", Level.OK),
            ((12, 8), (12, 8), NODES, "auto", Level.OK),
            ((12, 8), (13, 0), NODES, "cuda:0", Level.OK),
            ((12, 8), (12, 2), NODES, "cuda:0", Level.WARNING),
            ((13, 0), (12, 8), NODES, "auto", Level.FAIL),
            ((13, 0), (12, 8), NODES, "cpu", Level.OK),
            ((13, 0), None, NODES, "auto", Level.FAIL),
            ((13, 0), None, (), "auto", Level.OK),
            ((13, 0), None, (), "cuda:0", Level.FAIL),
        ],
    )
    def test_they_fit(
        self,
        built: tuple[int, int] | None,
        driver: tuple[int, int] | None,
        nodes: tuple[str, ...],
        setting: str,
        level: Level,
    ) -> None:
        holds(device.check_torch(hardware(built=built, driver=driver), nodes, setting), level)

    def test_nodes_are_found_by_name(self, tmp_path: Path) -> None:
        for name in ("nvidiactl", "nvidia0", "null"):
            (tmp_path / name).touch()
        assert device.nvidia_nodes(tmp_path) == ("nvidia0", "nvidiactl")


class TestDevice:
    def test_a_sound_card(self) -> None:
        holds(
            device.check_device(hardware(gpus=(card(),)), NODES, "auto"), Level.OK, "Test GPU", "79.0 of 80.0"
        )

    def test_a_card_that_is_not_there(self) -> None:
        holds(device.check_device(hardware(gpus=(card(),)), NODES, "cuda:1"), Level.FAIL, "cuda:1")

    def test_a_missing_node_is_named(self) -> None:
        seen = hardware(problem="CUDA unknown error")
        answer = device.check_device(seen, ("nvidia0", "nvidiactl"), "cuda:0")
        holds(answer, Level.FAIL, "CUDA unknown error", "nvidia-uvm")

    def test_auto_falls_back_to_the_cpu_and_says_so(self) -> None:
        holds(device.check_device(hardware(), (), "auto"), Level.OK, "cpu")
        holds(
            device.check_device(hardware(problem="no permission"), NODES, "auto"),
            Level.WARNING,
            "no permission",
        )

    def test_a_card_that_computes_wrongly(self) -> None:
        holds(device.check_device(hardware(gpus=(card(computes=False),)), NODES, "auto"), Level.FAIL)

    def test_a_card_whose_memory_is_in_use(self) -> None:
        full = hardware(gpus=(card(free_bytes=GIB),))
        holds(device.check_device(full, NODES, "cuda"), Level.WARNING, "batch_s")

    @pytest.mark.parametrize(
        ("capability", "level", "precisions"),
        [
            ((9, 0), Level.OK, "fp32, fp16, bf16"),
            ((8, 0), Level.OK, "fp32, fp16, bf16"),
            ((7, 5), Level.WARNING, "fp32, fp16 "),
            ((6, 1), Level.WARNING, "fp32 "),
        ],
    )
    def test_precision(self, capability: tuple[int, int], level: Level, precisions: str) -> None:
        seen = hardware(gpus=(card(capability=capability),))
        holds(device.check_precision(seen, "auto"), level, precisions)

    def test_precision_of_the_cpu(self) -> None:
        holds(device.check_precision(hardware(gpus=(card(),)), "cpu"), Level.OK, "cpu")

    def test_int8_is_for_processors_that_have_it(self) -> None:
        seen = replace(hardware(), int8="limited")
        holds(device.check_precision(seen, "cpu"), Level.OK, "fp32", "int8 would be faster")
        holds(device.check_precision(seen, "auto", "int8"), Level.OK, "int8 on the cpu", "no VNNI")
        full = device.check_precision(replace(hardware(), int8="full"), "auto", "int8")
        holds(full, Level.OK, "int8 on the cpu")
        assert "VNNI" not in full.detail
        holds(device.check_precision(hardware(), "cpu", "int8"), Level.FAIL, "no products of 8 bits")
        holds(device.check_precision(seen, "cpu", "fp16"), Level.FAIL, "needs a CUDA device")
        holds(device.check_precision(hardware(gpus=(card(),)), "cuda", "int8"), Level.FAIL, "for the CPU")

    def test_bf16_is_for_processors_that_have_it(self) -> None:
        seen = replace(hardware(), int8="full", bf16=True)
        holds(device.check_precision(seen, "cpu"), Level.OK, "fp32", "bf16 or int8 would be faster")
        holds(device.check_precision(seen, "auto", "bf16"), Level.OK, "bf16 on the cpu")
        holds(device.check_precision(hardware(), "cpu", "bf16"), Level.FAIL, "no products in bf16")
        holds(device.check_precision(hardware(gpus=(card(),)), "cuda", "bf16"), Level.FAIL, "for the CPU")

    def test_precision_of_a_card_that_is_not_there(self) -> None:
        holds(device.check_precision(hardware(gpus=(card(),)), "cuda:1"), Level.WARNING, "cuda:1")

    @pytest.mark.parametrize(
        ("setting", "names"),
        [
            ("cuda:1", ["device", "precision"]),
            ("cpu, cpu", ["device", "precision"]),
            ("cuda", [f"{what}:cuda:{i}" for i in (0, 1) for what in ("device", "precision")]),
            ("cuda:0, cuda:1", [f"{what}:cuda:{i}" for i in (0, 1) for what in ("device", "precision")]),
        ],
    )
    def test_several_devices_are_checked_one_by_one(self, setting: str, names: list[str]) -> None:
        seen = hardware(gpus=(card(), card()))
        assert [c.name for c in device.check_devices(seen, NODES, setting)] == names

    def test_a_missing_device_of_several_fails(self) -> None:
        first, _, second, _ = device.check_devices(hardware(gpus=(card(),)), NODES, "cuda:0, cuda:1")
        holds(first, Level.OK, "Test GPU")
        holds(second, Level.FAIL, "cuda:1")

    def test_cuda_where_there_is_none(self) -> None:
        device_check, _ = device.check_devices(hardware(), NODES, "cuda")
        holds(device_check, Level.FAIL, "torch sees 0")

    @pytest.mark.parametrize(
        ("setting", "found", "level"),
        [
            ("cuda", "cuda:0 (Card), cuda:1 (Card)", Level.OK),
            ("cuda:0, cuda:1", "cuda:0 (Card), cuda:1 (Card)", Level.OK),
            ("cuda:0, cuda:1", "cuda:0 (Card)", Level.FAIL),
            ("cpu, cpu", "cpu", Level.OK),
            ("cuda:0, cuda:0", "cuda:0 (Card)", Level.OK),
            ("cuda", "cpu", Level.FAIL),
            ("cuda:1", "cuda:0 (Card)", Level.FAIL),
            ("auto", "cpu", Level.OK),
        ],
    )
    def test_the_engine_is_where_it_should_be(self, setting: str, found: str, level: Level) -> None:
        facts = EngineFacts((("asr", "m"), ("vad", "v")), found, "fp16", (), None, 1.0)
        holds(model.check_facts(facts, setting), level, found)

    def test_the_output_of_the_child_is_parsed(self) -> None:
        text = (
            '{"torch": "2.13.0", "built_for": [12, 8], "driver_cuda": null, "problem": null, "gpus": [{"name": '
            '"X", "capability": [9, 0], "total_bytes": 2, "free_bytes": 1, "computes": true}], "int8": "full", "bf16": true}'
        )
        assert from_json(text) == Hardware(
            "2.13.0", (12, 8), None, (Gpu("X", (9, 0), 2, 1, computes=True),), None, "full", bf16=True
        )


class TestFolders:
    def test_a_folder_in_order(self, tmp_path: Path) -> None:
        before = list(tmp_path.iterdir())
        holds(folders.check_folder(Folder(path=tmp_path), None), Level.OK)
        assert list(tmp_path.iterdir()) == before

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        holds(folders.check_folder(Folder(path=tmp_path / "x"), None), Level.FAIL, "does not exist")

    def test_a_file_in_place_of_a_folder(self, tmp_path: Path) -> None:
        (tmp_path / "x").touch()
        holds(folders.check_folder(Folder(path=tmp_path / "x"), None), Level.FAIL, "is not a folder")

    def test_outputs_that_cannot_be_written(self, tmp_path: Path) -> None:
        answer = folders.check_folder(Folder(path=tmp_path), Path("/proc/dropscribe"))
        holds(answer, Level.FAIL, "/proc", "output_dir")

    def test_an_output_folder_that_does_not_exist_yet(self, tmp_path: Path) -> None:
        answer = folders.check_folder(Folder(path=tmp_path), tmp_path / "a" / "b")
        holds(answer, Level.OK, str(tmp_path / "a" / "b"))
        assert not (tmp_path / "a").exists()


class TestStorage:
    @pytest.mark.parametrize(
        ("free", "level"), [(10 * GIB, Level.OK), (GIB // 2, Level.WARNING), (GIB // 100, Level.FAIL)]
    )
    def test_disk(self, free: int, level: Level) -> None:
        holds(
            storage.check_free("disk:database", Path("/var/lib/dropscribe"), free),
            level,
            "/var/lib/dropscribe",
        )

    def test_disk_of_a_folder_that_does_not_exist_yet(self, tmp_path: Path) -> None:
        assert str(tmp_path) in storage.look_free("disk:database", tmp_path / "a" / "b").detail

    @pytest.mark.parametrize(
        ("available", "level"),
        [(8 * GIB, Level.OK), (GIB * 3 // 2, Level.WARNING), (GIB // 2, Level.FAIL), (None, Level.WARNING)],
    )
    def test_memory(self, available: int | None, level: Level) -> None:
        holds(storage.check_memory(GIB, available), level)

    def test_the_lower_memory_limit_of_a_control_group_counts(self, tmp_path: Path) -> None:
        meminfo = tmp_path / "meminfo"
        meminfo.write_text("MemTotal: 2000 kB\nMemAvailable:    1000 kB\n", encoding="ascii")
        assert storage.available_memory(meminfo, tmp_path) == 1000 * 1024
        (tmp_path / "memory.max").write_text("500000\n", encoding="ascii")
        (tmp_path / "memory.current").write_text("100000\n", encoding="ascii")
        assert storage.available_memory(meminfo, tmp_path) == 400_000
        (tmp_path / "memory.max").write_text("max\n", encoding="ascii")
        assert storage.available_memory(meminfo, tmp_path) == 1000 * 1024


class TestWatching:
    @pytest.mark.parametrize(
        ("backend", "network", "level", "word"),
        [
            ("auto", False, Level.OK, "inotify"),
            ("auto", True, Level.OK, "polled every 5 s"),
            ("poll", False, Level.OK, "polled"),
            ("inotify", True, Level.WARNING, "no events"),
        ],
    )
    def test_the_backend_fits(
        self, backend: Literal["auto", "inotify", "poll"], network: bool, level: Level, word: str
    ) -> None:
        folder = Folder(path=Path("/srv/share"), backend=backend)
        holds(watching.check_backend(folder, FileSystem("nfs4" if network else "ext4", "/srv")), level, word)

    @pytest.mark.parametrize(
        ("wanted", "limit", "level"),
        [
            (10, 8192, Level.OK),
            (5000, 8192, Level.WARNING),
            (9000, 8192, Level.FAIL),
            (1, None, Level.WARNING),
        ],
    )
    def test_limits(self, wanted: int, limit: int | None, level: Level) -> None:
        holds(watching.check_limit("inotify:watches", "fs.inotify.max_user_watches", wanted, limit), level)

    def test_directories_are_counted_without_following_links(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        (tmp_path / "a" / "up").symlink_to(tmp_path)
        assert watching.directories(Folder(path=tmp_path)) == 3
        assert watching.directories(Folder(path=tmp_path, recursive=False)) == 1


class TestManager:
    def test_by_hand(self, tmp_path: Path) -> None:
        holds(manager.check_manager({}, (), tmp_path), Level.OK)

    def test_under_systemd(self) -> None:
        environ = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "60000000"}
        holds(manager.check_manager(environ), Level.OK, "watchdog 60 s")

    def test_a_watchdog_interval_that_is_too_short(self) -> None:
        environ = {"NOTIFY_SOCKET": "/run/systemd/notify", "WATCHDOG_USEC": "1000000"}
        holds(manager.check_manager(environ), Level.WARNING, "WatchdogSec=60")

    def test_invalid_variables(self) -> None:
        holds(manager.check_manager({"NOTIFY_SOCKET": "vsock:2"}), Level.FAIL, "vsock:2")


class TestClock:
    def test_in_order(self) -> None:
        holds(clock.check_clock(1_800_000_000.0, 1_700_000_000.0, 1_799_999_999.0), Level.OK, "2027-01-15")

    def test_before_the_installation(self) -> None:
        holds(clock.check_clock(0.0, 1_700_000_000.0, None), Level.FAIL, "1970", "timedatectl")

    def test_clock_set_back(self) -> None:
        holds(clock.check_clock(1_800_000_000.0, 1_700_000_000.0, 1_800_001_000.0), Level.WARNING, "set back")


def test_the_document_is_what_is_documented() -> None:
    checks = [record.ok("a", "fine"), record.warning("b", "hm", "do"), record.fail("c", "no", "do that")]
    assert record.document(checks) == {
        "schema": "dropscribe/doctor/1",
        "checks": [
            {"name": "a", "status": "ok", "detail": "fine", "remedy": ""},
            {"name": "b", "status": "warning", "detail": "hm", "remedy": "do"},
            {"name": "c", "status": "fail", "detail": "no", "remedy": "do that"},
        ],
    }
    assert record.healthy(checks[:2])
    assert not record.healthy(checks)


def test_an_error_becomes_a_failed_check() -> None:
    error = ConfigError("no such file", operation="read", path=Path("/x.toml"), remedy="write it")
    assert record.from_error("configuration", error) == record.fail(
        "configuration", "/x.toml: no such file", "write it"
    )
