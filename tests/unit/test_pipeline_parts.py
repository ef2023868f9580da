"""Recordings decoded in parts: positions in the recording, order, progress."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dropscribe.engine.protocol import Annotations, SegmentDone, StreamDone, StreamOptions
from dropscribe.media.protocol import PART_GAP_MS, PartBegun
from dropscribe.pipeline.assembly import Assembly
from dropscribe.pipeline.parts import placed
from dropscribe.transcript.types import CHANNEL, TRACK, MediaFacts, Part, Segment, Speaker, Tokens
from dropscribe.transcript.written.marks import COMMA, FULL_STOP, PAUSE

LEFT, RIGHT = Part(CHANNEL, 1, 0, None), Part(CHANNEL, 2, 60_000 + PART_GAP_MS, None)


def facts(duration_ms: int, *parts: Part) -> MediaFacts:
    return MediaFacts(duration_ms, "wav", "pcm_s16le", 8000, 2, "soundfile", parts=parts)


def heard(index: int, start_ms: int, end_ms: int, text: str) -> SegmentDone:
    tokens = Tokens(text, [start_ms] * len(text), [end_ms] * len(text))
    return SegmentDone(1, index, start_ms, end_ms, text, tokens, 1, 1, 1.0, 1.0, 0.0, 0.0)


@st.composite
def streams(draw: st.DrawFn) -> tuple[tuple[Segment, ...], tuple[Part, ...], int, dict[str, int]]:
    """Segments in a stream of parts; parts; longest part; number of the part of each text."""
    parts: list[Part] = []
    segments: list[Segment] = []
    of: dict[str, int] = {}
    at = longest = 0
    for number in range(1, draw(st.integers(1, 5)) + 1):
        parts.append(Part(TRACK, number, at, None))
        length = draw(st.integers(0, 20_000))
        longest = max(longest, length)
        # Detected speech reaches into the silence around the part.
        first, last = at - (900 if number > 1 else 0), at + length + 900
        cuts = sorted(draw(st.lists(st.integers(first, last), max_size=8)))
        for start, end in zip(cuts[::2], cuts[1::2], strict=False):
            if start >= at + length:
                continue
            text = f"w{len(segments)}"
            of[text] = number
            segments.append(Segment(len(segments), start, end, text, Tokens((text,), (start,), (end,))))
        at += length + PART_GAP_MS
    return tuple(segments), tuple(parts), longest, of


@given(streams())
def test_every_segment_is_once_in_the_recording_at_its_time(
    stream: tuple[tuple[Segment, ...], tuple[Part, ...], int, dict[str, int]],
) -> None:
    segments, parts, duration_ms, of = stream
    moved = placed(segments, parts, duration_ms)
    assert sorted(s.text for s in moved) == sorted(s.text for s in segments)
    assert [s.index for s in moved] == list(range(len(moved)))
    assert [s.start_ms for s in moved] == sorted(s.start_ms for s in moved)
    before = {s.text: s for s in segments}
    for s in moved:
        begin_ms = parts[of[s.text] - 1].start_ms
        assert 0 <= s.start_ms <= s.end_ms <= duration_ms
        assert (s.tokens.starts_ms, s.tokens.ends_ms) == ((s.start_ms,), (s.end_ms,))
        assert s.speakers == (bytes([of[s.text]]) if len(parts) > 1 else b"")
        wanted = before[s.text].start_ms - begin_ms
        assert s.start_ms == min(max(0, wanted), duration_ms)


def call() -> Assembly:
    """A call of a minute; its second side has begun."""
    assembly = Assembly(started=0.0, declared_ms=60_000)
    assembly.begin(PartBegun(1, LEFT, 0, 2))
    assembly.decoded_samples = 30_000 * 16
    assert assembly.decoded_ms == 15_000
    assembly.add(heard(0, 1000, 2000, "喂"))
    assembly.add(heard(1, 50_000, 54_000, "好"))
    assembly.begin(PartBegun(1, RIGHT, 1, 2))
    assembly.add(heard(2, RIGHT.start_ms - 100, RIGHT.start_ms + 3000, "你好"))
    return assembly


def test_progress_is_the_share_of_all_parts() -> None:
    assembly = call()
    assert assembly.recognised_ms == 31_500
    assembly.decoded_samples = (RIGHT.start_ms + 60_000) * 16
    assert assembly.decoded_ms == 60_000
    unknown = call()
    unknown.declared_ms = None
    unknown.decoded_samples = (RIGHT.start_ms + 60_000) * 16
    assert unknown.decoded_ms == (60_000 + 60_000 + PART_GAP_MS) // 2


def test_a_silent_part_that_was_left_out_counts_as_done() -> None:
    assembly = Assembly(started=0.0, declared_ms=60_000)
    assembly.begin(PartBegun(1, Part(TRACK, 3, 0, "Mic"), 2, 4))
    assembly.decoded_samples = 30_000 * 16
    assert assembly.decoded_ms == (2 * 60_000 + 30_000) // 4


def test_the_text_so_far_names_its_part() -> None:
    seen = call().heard()
    assert (seen.segments, seen.until_ms, seen.parts_done, seen.parts) == (3, 3000, 1, 2)
    assert seen.headings == ((0, "channel 1"), (2, "channel 2"))


def test_the_result_is_in_order_of_time() -> None:
    assembly = call()
    assembly.facts = facts(60_000, LEFT, RIGHT)
    # 喂， 好。 你，好、
    marks = bytes([COMMA, FULL_STOP, COMMA, PAUSE])
    assembly.done = StreamDone(1, 3, 122_000, 8100, 0.1, annotations=Annotations(marks=marks))
    result = assembly.result(1.0)
    assert [(s.index, s.start_ms, s.end_ms, s.text) for s in result.segments] == [
        (0, 0, 3000, "你好"), (1, 1000, 2000, "喂"), (2, 50_000, 54_000, "好"),
    ]  # fmt: skip
    assert result.media.duration_ms == 60_000
    assert [list(s.speakers) for s in result.segments] == [[2, 2], [1], [1]]
    assert [list(s.marks) for s in result.segments] == [[COMMA, FULL_STOP], [COMMA], [FULL_STOP]]
    assert result.speakers == (Speaker(1, None, CHANNEL), Speaker(2, None, CHANNEL))


def test_voices_are_not_told_apart_where_speakers_are_known() -> None:
    assembly = Assembly(started=0.0, options=StreamOptions(speakers=0, punctuation="auto"))
    assembly.begin(PartBegun(1, LEFT, 0, 2))
    assert assembly.options == StreamOptions(speakers=None, punctuation="auto")


def test_an_only_channel_tells_nobody_apart() -> None:
    assembly = Assembly(started=0.0)
    assembly.begin(PartBegun(1, LEFT, 0, 1))
    assembly.add(heard(0, 1000, 2000, "喂"))
    assembly.facts, assembly.done = facts(60_000, LEFT), StreamDone(1, 1, 60_000, 1000, 0.1)
    result = assembly.result(1.0)
    assert (result.speakers, result.segments[0].speakers) == ((), b"")
