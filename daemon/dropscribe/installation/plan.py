"""Which files a service needs, and their content. Pure: nothing is read or written here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dropscribe.installation.places import Places

#: The program in the unit files as they are shipped.
SHIPPED_PROGRAM = "/opt/dropscribe/venv/bin/dropscribe"
USER_UNIT = "dropscribe-user.service"
#: Growing delays between restarts need this version of systemd.
BACKOFF_SYSTEMD = 254
_UNIT_TYPES = (".service", ".socket", ".path", ".timer")
_NOTE = "# Written by 'dropscribe install-service'. Changes belong into a drop-in: systemctl {}edit {}\n"
#: Without GPU the service needs no devices at all.
_NO_DEVICES = (
    "# Written by 'dropscribe install-service --cpu'.\n[Service]\nPrivateDevices=yes\nDeviceAllow=\n"
)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to write. `once`: only where there is none; `link`: `text` is the target of a symbolic link."""

    path: Path
    text: str
    once: bool = False
    link: bool = False


@dataclass(frozen=True, slots=True)
class Sources:
    """What is installed: unit files by name, manual pages and completions by place, the configuration."""

    systemd: Mapping[str, str]
    shared: Mapping[str, str]
    config: str


def plan(places: Places, program: Path, sources: Sources, *, systemd: int, cpu: bool) -> list[PlannedFile]:
    """Files of the service, the configuration last. `systemd`: its version; `cpu`: there will be no GPU."""
    units = _user_unit if places.user else _machine_files
    found = [*units(places, str(program), sources.systemd, systemd, cpu)]
    found += [PlannedFile(places.share / name, text) for name, text in sources.shared.items()]
    if program != places.command:
        found.append(PlannedFile(places.command, str(program), link=True))
    return [*found, PlannedFile(places.config, sources.config, once=True)]


def unit_names(systemd: Mapping[str, str], *, user: bool) -> list[str]:
    """Names of the units as installed."""
    if user:
        return ["dropscribe.service"]
    return [n for n in sorted(systemd) if n.endswith(_UNIT_TYPES) and n != USER_UNIT]


def _user_unit(
    places: Places, program: str, systemd: Mapping[str, str], version: int, cpu: bool
) -> Iterator[PlannedFile]:
    del version, cpu
    text = _with_program(systemd[USER_UNIT], program)
    yield PlannedFile(places.units / "dropscribe.service", _NOTE.format("--user ", "dropscribe") + text)


def _machine_files(
    places: Places, program: str, systemd: Mapping[str, str], version: int, cpu: bool
) -> Iterator[PlannedFile]:
    for name in unit_names(systemd, user=False):
        text = _NOTE.format("", name.removesuffix(".service")) + _with_program(systemd[name], program)
        yield PlannedFile(places.units / name, text)
    drop_ins = places.units / "dropscribe.service.d"
    if version >= BACKOFF_SYSTEMD:
        yield PlannedFile(drop_ins / "backoff.conf", systemd["backoff.conf"])
    if cpu:
        yield PlannedFile(drop_ins / "cpu.conf", _NO_DEVICES)
    for kind in ("sysusers", "tmpfiles"):
        yield PlannedFile(Path(f"/etc/{kind}.d/dropscribe.conf"), systemd[f"dropscribe.{kind}.conf"])


def _with_program(text: str, program: str) -> str:
    """A unit with the path of the program; `%` begins a specifier in units."""
    return text.replace(SHIPPED_PROGRAM, program.replace("%", "%%"))
