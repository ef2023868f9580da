"""A reload takes over what a running daemon can, and names the rest."""

from __future__ import annotations

from dropscribe.config import Settings
from dropscribe.service.control.reloading import merged

OLD = Settings.model_validate({"database": "/srv/jobs.db", "engine": {"threads": 2}})


def changed(**sections: object) -> Settings:
    return Settings.model_validate({"database": "/srv/jobs.db", "engine": {"threads": 2}} | sections)


def test_folders_profiles_and_some_of_the_service_are_taken_over() -> None:
    new = changed(
        folder=[{"path": "/srv/a", "priority": 5}],
        profiles={"films": {"formats": ["srt"]}},
        service={"free_floor_mb": 1, "jobs_in_flight": 2, "rescan_s": 3},
    )
    in_force, waiting = merged(OLD, new)
    assert waiting == []
    assert (in_force.folders, in_force.profiles, in_force.service) == (new.folders, new.profiles, new.service)


def test_the_rest_is_named_and_stays_as_it_is() -> None:
    new = changed(
        database="/srv/other.db",
        engine={"threads": 4, "models": {"asr": "paraformer-mini"}},
        media={"decoders": 3},
        service={"log_level": "debug", "jobs_in_flight": 2},
        cluster={"address": "head:6379"},
    )
    in_force, waiting = merged(OLD, new)
    assert waiting == [
        "database",
        "engine.models.asr",
        "engine.threads",
        "media.decoders",
        "service.log_level",
        "cluster.address",
    ]
    assert in_force.engine == OLD.engine
    assert in_force.service.log_level == "info"
    assert in_force.service.jobs_in_flight == 2


def test_the_same_again_changes_nothing() -> None:
    assert merged(OLD, OLD) == (OLD, [])
