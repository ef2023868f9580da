"""Forms in pieces, and the shapes of OpenAI's transcription API."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from dropscribe.transcript.renderers.content import Content, Options
from dropscribe.transcript.types import Segment, Speaker, Tokens
from dropscribe.web.openai.form import Begin, Data, Form, FormError
from dropscribe.web.openai.shapes import WishError, Wishes, document, name_for
from tests.support.transcripts import transcript

KIND = "multipart/form-data; boundary=xyz"
BODY = (
    b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nwhisper-1\r\n'
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="\xe4\xbd\xa0.wav"\r\n'
    b"Content-Type: audio/wav\r\n\r\n\x00\r\n--xy\r\n\x00\r\n--xyz--\r\n"
)


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_form_is_the_same_in_pieces_of_any_size(size: int) -> None:
    form = Form(KIND)
    parts: dict[tuple[str, str | None], bytes] = {}
    name: tuple[str, str | None] = ("", None)
    for first in range(0, len(BODY), size):
        for event in form.feed(BODY[first : first + size]):
            if isinstance(event, Begin):
                name = event.name, event.filename
                parts[name] = b""
            elif isinstance(event, Data):
                parts[name] += event.content
    form.end()
    assert parts == {("model", None): b"whisper-1", ("file", "你.wav"): b"\x00\r\n--xy\r\n\x00"}


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        ("application/json", b"{}", "no multipart"),
        ("multipart/form-data", BODY, "no multipart"),
        (KIND, BODY[:-9], "no end"),
        (KIND, b"what", "damaged"),
        (KIND, b"--xyz\r\nContent-Type: a/b\r\n\r\n1\r\n--xyz--\r\n", "no name"),
        (KIND, b"--xyz\r\nX: " + b"a" * 9000, "head|damaged"),
        (KIND, b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' * 51, "more than 50"),
    ],
)
def test_damaged_forms_are_refused(kind: str, body: bytes, reason: str) -> None:
    with pytest.raises(FormError, match=reason):  # noqa: PT012 - wherever it is found
        form = Form(kind)
        form.feed(body)
        form.end()


def test_what_is_wished() -> None:
    assert Wishes.of({"model": ["whisper-1"], "language": ["zh"]}) == Wishes()
    both = Wishes.of({"response_format": ["verbose_json"], "timestamp_granularities[]": ["word", "segment"]})
    assert both == Wishes("verbose_json", frozenset({"word", "segment"}))
    for wrong in (
        {"response_format": ["pdf"]},
        {"timestamp_granularities[]": ["year"]},
        {"stream": ["true"]},
    ):
        with pytest.raises(WishError):
            Wishes.of(wrong)


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ("audio.wav", r"audio-\w{8}\.wav"),
        ("../../etc/x.mp3", r"x-\w{8}\.mp3"),
        ("C:\\talks\\会议.m4a", r"会议-\w{8}\.m4a"),
        (".wav", r"wav-\w{8}"),
        ("", r"recording-\w{8}"),
        ("a\0\n.wav", r"a__-\w{8}\.wav"),
        ("长" * 300 + ".wav", r"长{50}-\w{8}\.wav"),
    ],
)
def test_names_of_recordings(sent: str, expected: str) -> None:
    assert re.fullmatch(expected, name_for(sent))
    assert name_for(sent) != name_for(sent)


def test_the_answer_has_segments_words_and_speakers() -> None:
    tokens = Tokens.of([("你", 100, 300, 255), ("好", 300, 500, 128)])
    segments = (Segment(0, 100, 500, "你好", tokens, speakers=b"\1\1"),)
    content = Content(replace(transcript(*segments), speakers=(Speaker(1, "Alice"),)), Options())
    assert document(content, Wishes())["text"] == content.text == "你好"
    found = document(content, Wishes("verbose_json", frozenset({"segment", "word"})))
    assert found["language"] == "chinese"
    assert [(w["word"], w["start"], w["end"]) for w in found["words"]] == [("你", 0.1, 0.3), ("好", 0.3, 0.5)]
    (segment,) = found["segments"]
    assert (segment["text"], segment["speaker"], segment["start"]) == ("你好", "Alice", 0.1)
    assert segment["avg_logprob"] == pytest.approx(-0.345, abs=0.01)
    assert "words" not in document(content, Wishes("verbose_json"))
