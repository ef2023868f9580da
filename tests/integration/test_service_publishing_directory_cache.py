"""Cached listings of directories follow what is in them."""

from __future__ import annotations

from pathlib import Path

from dropscribe.service.publishing.directory_cache import DirectoryCache


def test_a_listing_that_is_read_anew_has_what_came_and_not_what_went(tmp_path: Path) -> None:
    cache = DirectoryCache()
    for name in ("talk.wav", "talk.txt", "other.wav"):
        (tmp_path / name).touch()
    assert cache.like(tmp_path, tmp_path, "talk.wav") == {"talk.wav", "talk.txt"}
    (tmp_path / "talk.txt").unlink()
    (tmp_path / "TALK.mp3").touch()
    assert cache.like(tmp_path, tmp_path, "talk.wav") == {"talk.wav", "talk.txt"}, "it is cached"
    cache.clear()
    assert cache.like(tmp_path, tmp_path, "talk.wav") == {"talk.wav", "TALK.mp3"}


def test_a_planned_name_is_taken_until_it_is_written_or_given_up(tmp_path: Path) -> None:
    cache = DirectoryCache()
    (tmp_path / "talk.wav").touch()
    cache.like(tmp_path, tmp_path, "talk.wav")
    cache.add(tmp_path, ["talk.txt", "talk.srt"])
    assert cache.like(tmp_path, tmp_path, "talk.wav") == {"talk.wav", "talk.txt", "talk.srt"}
    cache.clear()
    assert cache.like(tmp_path, tmp_path, "talk.wav") == {"talk.wav", "talk.txt", "talk.srt"}
    (tmp_path / "talk.srt").touch()
    cache.ended(tmp_path, ["talk.txt", "talk.srt"])
    cache.clear()
    assert cache.like(tmp_path, tmp_path, "talk.wav") == {"talk.wav", "talk.srt"}


def test_names_that_differ_in_case_or_composition_are_alike(tmp_path: Path) -> None:
    cache = DirectoryCache()
    for name in ("Café.wav", "cafe\u0301.txt", "CAFÉ.srt"):
        (tmp_path / name).touch()
    assert len(cache.like(tmp_path, tmp_path, "café.mp3")) == 3


def test_a_directory_that_went_is_empty(tmp_path: Path) -> None:
    cache, below = DirectoryCache(), tmp_path / "below"
    below.mkdir()
    (below / "talk.wav").touch()
    assert cache.like(tmp_path, below, "talk.wav") == {"talk.wav"}
    (below / "talk.wav").unlink()
    below.rmdir()
    cache.clear()
    assert cache.like(tmp_path, below, "talk.wav") == set()
