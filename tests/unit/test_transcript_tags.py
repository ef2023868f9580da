"""Tags of language, emotion and sound event: from a model's output, in JSON, and back."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from dropscribe.engine.models.text.pieces import Pieces
from dropscribe.engine.models.text.tags import tags_of
from dropscribe.transcript.reading import NotATranscriptError, read_transcript
from dropscribe.transcript.render import Options, render
from dropscribe.transcript.types import NO_TAGS, Segment, Tags
from tests.support.transcripts import rich_transcript, tokens, transcript

TAGGED = Segment(
    0, 0, 2000, "好的", tokens(list("好的"), 0), tags=Tags("zh", "happy", ("speech", "laughter"))
)


@pytest.mark.parametrize(
    ("names", "tags"),
    [
        (["zh", "NEUTRAL", "Speech", "withitn"], Tags("zh", "neutral", ("speech",))),
        (["yue", "EMO_UNKNOWN", "BGM", "woitn", "Laughter", "BGM"], Tags("yue", "", ("bgm", "laughter"))),
        (["nospeech", "Event_UNK"], Tags("nospeech")),
        (["withitn"], NO_TAGS),
        ([], NO_TAGS),
    ],
)
def test_tags_are_told_apart_by_their_names(names: list[str], tags: Tags) -> None:
    assert tags_of(names) == tags


def test_tags_among_the_tokens_of_a_model_are_not_in_its_text() -> None:
    pieces = Pieces(["<|zh|>", "<|HAPPY|>", "▁好", "<|BGM|>", "的"], [False] * 5)
    ids = [0, 1, 2, 3, 4]
    assert pieces.tags(ids) == Tags("zh", "happy", ("bgm",))
    assert pieces.words(ids, [(0, 1)] * 5).text == "好的"


def test_tags_stand_in_the_segments_of_a_json_document_and_are_read_back() -> None:
    data = render(transcript(TAGGED), "json", Options())
    (segment,) = json.loads(data)["segments"]
    assert (segment["language"], segment["emotion"], segment["events"]) == (
        "zh",
        "happy",
        ["speech", "laughter"],
    )
    assert read_transcript(data).transcript.segments == (TAGGED,)
    for name in ("txt", "srt", "md"):
        assert "laughter" not in render(transcript(TAGGED), name, Options()).decode()


def test_segments_without_tags_have_no_fields_for_them() -> None:
    document = json.loads(render(rich_transcript(), "json", Options()))
    assert not {"language", "emotion", "events"} & document["segments"][0].keys()


@pytest.mark.parametrize("wrong", [{"language": 3}, {"events": "bgm"}, {"events": [1]}])
def test_tags_that_are_no_text_are_refused(wrong: dict[str, object]) -> None:
    document = json.loads(render(transcript(replace(TAGGED, tags=NO_TAGS)), "json", Options()))
    document["segments"][0] |= wrong
    with pytest.raises(NotATranscriptError, match="tags of segment 0"):
        read_transcript(json.dumps(document).encode())
