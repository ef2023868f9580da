"""Number of decoders, hashers and publishers, and bounds that rule out a deadlock."""

from __future__ import annotations

import pytest

from dropscribe.config import MediaSettings, Settings
from dropscribe.pipeline import sizing
from dropscribe.pipeline.local.arena import SLOT_S
from dropscribe.pipeline.local.station_plans import plan_stations


@pytest.mark.parametrize(
    ("cores", "decoders", "hashers", "lanes"),
    [(1, 2, 2, 2), (2, 2, 2, 2), (8, 4, 4, 2), (16, 12, 8, 4), (128, 32, 16, 4)],
)
def test_decoders_leave_cores_for_other_processes(
    cores: int, decoders: int, hashers: int, lanes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "cores", lambda: cores)
    assert sizing.decoder_count(Settings()) == decoders
    assert sizing.hasher_count() == hashers
    assert sizing.lane_count() == lanes


@pytest.mark.parametrize(("cores", "decoders"), [(16, 12), (128, 124), (512, 256)])
def test_each_station_may_have_as_many_decoders_as_an_engine_keeps_up_with(
    cores: int, decoders: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizing, "cores", lambda: cores)
    assert sizing.decoder_count(Settings(), stations=8) == decoders
    plans = plan_stations(Settings(), ["cpu"] * 8)
    assert sum(p.settings.media.decoders or 0 for p in plans) == decoders


def test_configured_numbers_are_used() -> None:
    assert sizing.decoder_count(Settings(media=MediaSettings(decoders=7))) == 7


@pytest.mark.parametrize("decoders", [1, 7, 256])
def test_open_segments_of_all_decoders_fit_the_engine_with_room_for_more(decoders: int) -> None:
    arena_s, capacity_s = sizing.audio_bounds(Settings(media=MediaSettings(decoders=decoders)))
    assert capacity_s > decoders * sizing.OPEN_SEGMENT_S
    assert arena_s >= 2 * decoders * SLOT_S


def test_audio_for_each_gpu_is_kept_beside_that_of_the_decoders() -> None:
    alone, _ = sizing.audio_bounds(Settings(), gpus=0)
    assert sizing.audio_bounds(Settings(), gpus=2)[0] == alone + 2 * sizing.GPU_AUDIO_S
