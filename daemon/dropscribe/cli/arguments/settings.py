"""Settings of a command: a file or the embedded defaults, overridden by command-line options."""

from __future__ import annotations

from pathlib import Path

from dropscribe import config as configuration
from dropscribe.config import Loaded
from dropscribe.errors import ConfigError
from dropscribe.ledger.backend import location_of
from dropscribe.ledger.interface import DatabaseLocation

#: Database of `run --watch` without a configuration, in the current directory.
LOCAL_DATABASE = "jobs.db"


def in_force(
    *,
    config: Path | None = None,
    watch: list[Path] | None = None,
    database: Path | None = None,
    model: str | None = None,
    vad_model: str | None = None,
    device: str | None = None,
    cluster: str | None = None,
    lists: bool = True,
) -> Loaded:
    """Settings in force: with `watch` the embedded defaults, else the file named, the first found, or the defaults.

    `lists`: as for `config.load`. Raises ConfigError naming file, field and remedy.
    """
    if watch:
        if config is not None:
            raise ConfigError(
                "--watch and --config exclude each other",
                operation="check options",
                remedy="name the folder in the file, or leave the file out",
            )
        return configuration.embedded(
            tuple(watch), database=database, model=model, vad_model=vad_model, device=device, cluster=cluster
        )
    found = configuration.find(config)
    if found is None:
        return configuration.embedded(
            (), database=database, model=model, vad_model=vad_model, device=device, cluster=cluster
        )
    return configuration.override(
        configuration.load(found, lists=lists),
        database=database,
        engine__models__asr=model,
        engine__models__vad=vad_model,
        engine__device=device,
        cluster__address=cluster,
    )


def database_location(config: Path | None, database: Path | None) -> DatabaseLocation:
    """The database whose history is shown. Raises ConfigError.

    The one named; else that of the configuration named or in the current directory; else ./jobs.db if there is one, as
    after `run --watch` here; else that of the configuration in force.
    """
    if database is None:
        found = configuration.find(config)
        local = Path(LOCAL_DATABASE).absolute()
        elsewhere = found is not None and found in configuration.places()[1:]
        if not (elsewhere and _exists(local)):
            return _of_settings(config)
        database = local
    location = DatabaseLocation.of(database.absolute())
    if location.server and configuration.find(config) is not None:
        # For the name of this host.
        named = _of_settings(config)
        location = named if named == location else location
    return location


def _of_settings(config: Path | None) -> DatabaseLocation:
    """The database of the configuration in force, wherever this process goes."""
    settings = in_force(config=config, lists=False).settings
    return location_of(settings.model_copy(update={"database": settings.database.absolute()}))


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except OSError:
        return False
    return True
