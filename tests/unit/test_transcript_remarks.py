"""Remarks on what was in the file and is not in the transcript."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dropscribe.durations import position
from dropscribe.transcript.reading import NotATranscriptError, read_transcript
from dropscribe.transcript.remarks import media_remarks
from dropscribe.transcript.render import RENDERERS, Options, render
from dropscribe.transcript.types import (
    CHANNEL,
    GAP,
    TRACK,
    UNDECODABLE,
    UNREAD,
    AudioTrack,
    Loss,
    MediaFacts,
    Part,
    Segment,
)
from tests.support.transcripts import MEDIA, text_of, transcript

TRACKS = (
    AudioTrack(1, "eng", "Desktop\n\x1b[31m", "aac", 2, default=True, chosen=False),
    AudioTrack(2, "zho", None, "aac", 1, default=False, chosen=True),
    AudioTrack(3, None, None, "opus", 1, default=False, chosen=False),
)
LOSSES = (
    Loss(GAP, 7_200, 30_000, "30.0 s without audio"),
    Loss(GAP, 3_725_000, 1_500, "1.5 s without audio"),
    Loss(UNDECODABLE, 7_000, 7_500, "7.5 s could not be decoded"),
    Loss(UNREAD, 14_300, None, "decoding stopped at 00:14; 5.2 MB of the file were not read"),
)
FACTS = replace(MEDIA, losses=LOSSES, tracks=TRACKS)
SAID = {
    "gap": "the file has no audio for 31.5 s (30.0 s from 00:07, 1.5 s from 1:02:05); silence is in its place",
    "undecodable": "7.5 s could not be decoded (from 00:07)",
    "unread": "decoding stopped at 00:14; 5.2 MB of the file were not read",
    "tracks": "of 3 audio tracks, only track 2 (zho) is transcribed; "
    'not transcribed: 1 (eng, "Desktop \\x1b[31m"), 3',
}


def said(facts: MediaFacts) -> dict[str, str]:
    return {remark.kind: remark.text for remark in media_remarks(facts)}


def test_each_kind_of_loss_is_one_line_with_positions() -> None:
    assert said(FACTS) == SAID


@pytest.mark.parametrize("name", RENDERERS)
def test_every_output_has_them(name: str) -> None:
    document = text_of(render(transcript(Segment(0, 0, 900, "好"), media=FACTS), name, Options()), name)
    for text in SAID.values():
        # Brackets would begin a tag in LRC.
        assert text in document


def test_many_places_are_counted_not_listed() -> None:
    many = tuple(Loss(GAP, 1000 * i, 500, "") for i in range(99))
    rest = Loss(GAP, 99_000, 250_000, "", places=500)
    text = said(replace(MEDIA, losses=(*many, rest)))["gap"]
    assert text == (
        "the file has no audio for 299.5 s (0.5 s from 00:00, 0.5 s from 00:01, 0.5 s from 00:02, 0.5 s from 00:03, "
        "0.5 s from 00:04 and 594 more); silence is in its place"
    )


def test_an_unknown_length_is_said() -> None:
    unknown = Loss(UNDECODABLE, 61_000, None, "")
    assert said(replace(MEDIA, losses=(unknown,))) == {
        "undecodable": "some audio could not be decoded (from 01:01)"
    }
    both = said(replace(MEDIA, losses=(LOSSES[2], unknown)))["undecodable"]
    assert both == "at least 7.5 s could not be decoded (7.5 s from 00:07, from 01:01)"


@pytest.mark.parametrize("chosen", [0, 3])
def test_nothing_is_said_where_no_track_is_left_out(chosen: int) -> None:
    """All tracks are transcribed (or, from a decoder that says nothing, none is marked)."""
    tracks = tuple(replace(track, chosen=chosen == 3) for track in TRACKS)
    assert media_remarks(replace(MEDIA, tracks=tracks)) == ()


def test_many_tracks_are_counted() -> None:
    tracks = tuple(AudioTrack(n, None, None, "aac", 1, default=False, chosen=n == 4) for n in range(1, 20))
    assert said(replace(MEDIA, tracks=tracks))["tracks"] == (
        "of 19 audio tracks, only track 4 is transcribed; not transcribed: 1, 2, 3, 5, 6 and 13 more"
    )


def test_a_track_without_sound_is_said_to_be_so_where_all_are_transcribed() -> None:
    tracks = tuple(replace(track, chosen=track.number != 1) for track in TRACKS)
    parts = (Part(TRACK, 2, 0, None), Part(TRACK, 3, 62_000, None))
    assert said(replace(MEDIA, tracks=tracks, parts=parts)) == {
        "tracks": "of 3 audio tracks, only tracks 2 (zho), 3 are transcribed; "
        'without sound that can be decoded: 1 (eng, "Desktop \\x1b[31m")'
    }


@pytest.mark.parametrize(
    ("there", "channels", "text"),
    [
        ((1, 2), 2, None),
        ((1,), 1, "only one channel has sound of its own, so its channels are not transcribed apart"),
        ((2,), 2, "only one channel has sound of its own, so its channels are not transcribed apart"),
        ((1, 3), 4, "without sound, and left out: channel 2, 4"),
    ],
)
def test_channels_that_are_not_transcribed_apart(
    there: tuple[int, ...], channels: int, text: str | None
) -> None:
    parts = tuple(Part(CHANNEL, number, 62_000 * at, None) for at, number in enumerate(there))
    assert said(replace(MEDIA, channels=channels, parts=parts)).get("channels") == text


@pytest.mark.parametrize(("ms", "shown"), [(0, "00:00"), (59_999, "00:59"), (3_600_000, "1:00:00")])
def test_positions_are_those_of_a_player(ms: int, shown: str) -> None:
    assert position(ms) == shown


def test_the_json_file_keeps_them() -> None:
    facts = replace(FACTS, parts=(Part(TRACK, 2, 0, "Floor"), Part(TRACK, 3, 62_000, None)))
    document = render(transcript(media=facts), "json", Options())
    assert read_transcript(document).transcript.media == facts


def test_a_json_file_of_an_older_version_is_read() -> None:
    document = json.loads(render(transcript(media=FACTS), "json", Options()))
    for name in ("losses", "tracks", "parts"):
        del document["media"][name]
    assert read_transcript(json.dumps(document).encode()).transcript.media == MEDIA


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("losses", 3),
        ("losses", ["x"]),
        ("losses", [{"kind": "gap"}]),
        ("tracks", [{"number": 1}]),
        ("parts", [{"kind": "track", "number": 1}]),
        ("tracks", [{**json.loads(json.dumps({"number": 1, "codec": "a", "channels": 1})), "default": 1}]),
    ],
)
def test_a_damaged_json_file_is_refused(part: str, value: object) -> None:
    document = json.loads(render(transcript(media=FACTS), "json", Options()))
    document["media"][part] = value
    with pytest.raises(NotATranscriptError):
        read_transcript(json.dumps(document).encode())
