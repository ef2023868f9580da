"""Run all checks in order, yielding each result as soon as it is known."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dropscribe.config import Loaded, Settings
from dropscribe.doctor.checks.answering import answered
from dropscribe.doctor.checks.clock import look_clock
from dropscribe.doctor.checks.database import check_daemon, look_database, look_sqlite
from dropscribe.doctor.checks.device import check_devices, check_torch, nvidia_nodes
from dropscribe.doctor.checks.folders import check_folders
from dropscribe.doctor.checks.held import look_held
from dropscribe.doctor.checks.hotwords import check_hotwords
from dropscribe.doctor.checks.languages import check_languages
from dropscribe.doctor.checks.manager import check_manager
from dropscribe.doctor.checks.model import look_model, look_running
from dropscribe.doctor.checks.python import check_python, look_packages
from dropscribe.doctor.checks.record import Check, Level, ok
from dropscribe.doctor.checks.storage import available_memory, check_memory, look_free
from dropscribe.doctor.checks.watching import look_watching
from dropscribe.engine import gpu_probe
from dropscribe.escapes import readable
from dropscribe.ledger.backend import location_of, lock_holder
from dropscribe.pipeline.local.arena import SLOT_BYTES, SLOT_S
from dropscribe.pipeline.local.engine_plan import gpus_of
from dropscribe.pipeline.sizing import audio_bounds
from dropscribe.service.monitoring.status_file import status_path

#: Time limit for counting the directories of all folders, seconds.
WALK_S = 60.0


def examine_machine() -> Iterator[Check]:
    """Checks that need no settings."""
    yield check_python()
    yield look_packages()
    yield look_sqlite()
    yield check_manager()


def examine(loaded: Loaded) -> Iterator[Check]:
    """All checks; those that need the model come last because they take longest."""
    settings = loaded.settings
    location = location_of(settings)
    yield ok(
        "configuration",
        f"{loaded.file} ({loaded.how})" if loaded.file else "embedded defaults and command line",
    )
    yield from examine_machine()
    yield look_clock(status_path(location))
    yield from check_folders(settings)
    yield from answered("watching", lambda: list(look_watching(settings)), WALK_S)
    yield look_free("disk:database", location.directory)
    targets = {settings.profiles[f.profile].output_dir or f.path for f in settings.folders}
    for target in sorted(targets):
        name = f"disk:{readable(target)}"
        yield from answered(name, partial(_free, name, target))
    arena_s, _ = audio_bounds(settings, gpus_of(settings.engine))
    yield check_memory(round(arena_s / SLOT_S) * SLOT_BYTES, available_memory())
    database = look_database(location)
    yield database
    if database.status is not Level.FAIL:
        yield from look_held(location)
    pid = lock_holder(location)
    yield check_daemon(pid)
    seen, nodes, setting = gpu_probe.probe(), nvidia_nodes(), settings.engine.device
    yield check_torch(seen, nodes, setting)
    yield from check_devices(seen, nodes, setting, settings.engine.precision)
    running = look_running(location, setting) if pid is not None else None
    model = running or look_model(settings.loading(_profiles(settings)).engine)
    yield model
    if model.status is not Level.FAIL:
        yield from check_hotwords(settings)
        yield from check_languages(settings)


def _profiles(settings: Settings) -> tuple[str, ...]:
    """Those of the folders, or, before there are folders, all."""
    return tuple(dict.fromkeys(f.profile for f in settings.folders)) or tuple(settings.profiles)


def _free(name: str, place: Path) -> list[Check]:
    return [look_free(name, place)]
