"""Written text: marks, sentences, paragraphs, speakers, replacements, in every format."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.transcript.layout.cues import Cue, Limits, cues
from dropscribe.transcript.reading import read_transcript
from dropscribe.transcript.render import RENDERERS, Options, render
from dropscribe.transcript.renderers.content import Content
from dropscribe.transcript.types import Segment, Speaker, Tokens, Transcript
from dropscribe.transcript.written.runs import Rules, runs_of
from dropscribe.transcript.written.units import width
from tests.support.transcripts import CODES, said, sure, talk, text_of, transcript


def written(*segments: Segment, **options: object) -> str:
    """The content of a txt file."""
    return render(transcript(*segments), "txt", Options(**options)).decode()  # type: ignore[arg-type]


def shown(*segments: Segment, **limits: object) -> tuple[Cue, ...]:
    return cues(runs_of(segments, Rules()), Limits(**limits), {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        ("大家好， 我们开始吧。", "大家好，我们开始吧。"),
        ("红、 黄、 蓝？", "红、黄、蓝？"),
        ("good morning， everyone。 how are you？", "Good morning, everyone. How are you?"),
        ("我用 python， java 和 go。", "我用 python, java 和 go。"),
        ("今天讨论 MIT， 明天休息。", "今天讨论 MIT，明天休息。"),
        ("hello everyone。 大家好。", "Hello everyone. 大家好。"),
        ("打开 www.example.com。", "打开 www.example.com。"),
        ("www.example.com is new。", "www.example.com is new."),
        ("iPhone works。 it costs 3.5 dollars。", "iPhone works. It costs 3.5 dollars."),
        ("apples、 pears。", "Apples, pears."),
    ],
)
def test_marks_are_written_as_the_field_writes_them(spoken: str, expected: str) -> None:
    assert written(said(0, 0, spoken)) == f"{expected}\n"


def test_a_sentence_may_reach_over_several_segments() -> None:
    halves = said(0, 0, "we use python"), said(1, 3000, "every day。 大家"), said(2, 6000, "好。")
    assert written(*halves) == "We use python every day. 大家好。\n"
    assert [s.text for s in Content(transcript(*halves), Options()).sentences] == [
        "We use python every day.",
        "大家好。",
    ]


def test_a_text_with_marks_of_its_own_is_kept() -> None:
    own = Segment(0, 0, 4000, "Mr. Smith paid 3.5 dollars. 你好！ see www.a.com", Tokens())
    assert written(own) == "Mr. Smith paid 3.5 dollars. 你好！ see www.a.com\n"
    assert [s.text for s in Content(transcript(own), Options()).sentences] == [
        "Mr. Smith paid 3.5 dollars.",
        "你好！",
        "see www.a.com",
    ]


def test_a_paragraph_ends_at_a_long_pause_after_a_sentence() -> None:
    assert written(said(0, 0, "好。 _2001 走吧。")) == "好。\n\n走吧。\n"
    assert written(said(0, 0, "好。 _2000 走吧。")) == "好。走吧。\n"
    assert written(said(0, 0, "好， _9000 走吧。")) == "好，走吧。\n"


def test_a_paragraph_has_about_300_characters() -> None:
    paragraphs = written(said(0, 0, ("今天讨论明年的计划。 " * 100))).strip().split("\n\n")
    assert [len(p) for p in paragraphs] == [300, 300, 300, 100]


def test_text_without_marks_has_a_line_per_segment() -> None:
    plain = [replace(said(i, 5000 * i, t), marks=b"") for i, t in enumerate(["大家好", "hello there"])]
    assert written(*plain) == "大家好\nhello there\n"
    assert written(*plain, txt_times=True) == "[00:00:00] 大家好\n[00:00:05] hello there\n"


def test_a_speaker_is_named_where_the_speaker_changes() -> None:
    call = [
        said(0, 0, "{1} 你好。 _3000 请说。 {2} 我想问。", asked=True),
        said(1, 6000, "{2} 账单。 {1} 好。", asked=True),
    ]
    assert written(*call) == "说话人 1：你好。\n\n请说。\n\n说话人 2：我想问。账单。\n\n说话人 1：好。\n"
    assert written(*call, txt_speakers=False) == "你好。\n\n请说。\n\n我想问。账单。\n\n好。\n"
    english = said(0, 0, "{1} hello。 {2} yes。", asked=True)
    assert written(english, txt_times=True) == "[00:00:00] Speaker 1: Hello.\n\n[00:00:00] Speaker 2: Yes.\n"


def test_speakers_without_marks_have_lines_of_their_own() -> None:
    plain = replace(said(0, 0, "{1} 你好 {2} 我想问 {1} 请说", asked=True), marks=b"")
    assert written(plain) == "说话人 1：你好\n说话人 2：我想问\n说话人 1：请说\n"


def test_a_token_whose_speaker_is_not_known_goes_with_its_neighbour() -> None:
    unknown = said(0, 0, "{0} 嗯 {1} 你好 {0} 啊。 {2} 好。", asked=True)
    assert written(unknown) == "说话人 1：嗯你好啊。\n\n说话人 2：好。\n"
    assert written(said(0, 0, "{0} 你好。", asked=True)) == "你好。\n"


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_speakers_that_were_not_asked_for_are_not_shown(name: str) -> None:
    document = text_of(render(transcript(said(0, 0, "你好。 hello。")), name, Options()), name)
    assert "说话人" not in document
    assert "speaker" not in document.replace("SPEAKER", "")


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_every_format_names_the_speakers(name: str) -> None:
    document = render(talk(), name, Options())
    found = text_of(document, name) if name != "json" else document.decode()
    assert "王芳" in found
    assert re.search("说话人[ _]2", found)


@pytest.mark.parametrize("name", sorted(RENDERERS))
def test_a_hostile_name_of_a_speaker_cannot_leave_its_place(name: str) -> None:
    """Names can be titles of tracks in a stranger's file."""
    titled = replace(
        talk(), speakers=(replace(talk().speakers[0], name="a\x1b]0;b\x07\nc\u202ed"), *talk().speakers[1:])
    )
    document = text_of(render(titled, name, Options()), name)
    assert not set("\x1b\x07\u202e") & set(document)


def test_numbers_are_written_in_figures_and_json_keeps_what_was_said() -> None:
    segment = said(0, 0, "上个月 花了 三百二十 块， 二十 块 是 利息。")
    assert written(segment, numbers="written") == "上个月花了320块，20块是利息。\n"
    document = json.loads(render(transcript(segment), "json", Options(numbers="written")))
    assert document["raw"] == document["segments"][0]["raw"] == "上个月花了三百二十块二十块是利息"
    assert [t["text"] for t in document["segments"][0]["tokens"]] == list(segment.tokens.texts)


def test_dictated_groups_of_figures_stay_apart() -> None:
    segment = said(0, 0, "我的号码是 一三八、 零零一三、 八零零零。")
    assert written(segment, numbers="written") == "我的号码是138、0013、8000。\n"


def test_fillers_are_left_out_and_json_keeps_what_was_said() -> None:
    segment = said(0, 0, "嗯， 那个， 我们 呃 明天 去。 那个 人 也 去， 好 啊。")
    assert written(segment, fillers="leave out") == "我们明天去。那个人也去，好啊。\n"
    document = json.loads(render(transcript(segment), "json", Options(fillers="leave out")))
    assert document["raw"] == "嗯那个我们呃明天去那个人也去好啊"
    assert [t["text"] for t in document["segments"][0]["tokens"]] == list(segment.tokens.texts)


@pytest.mark.parametrize(
    ("spoken", "expected"),
    [
        ("嗯， 我们走吧。", "我们走吧。"),
        ("我们嗯， 走吧。", "我们，走吧。"),
        ("我们， 嗯， 走吧。", "我们，走吧。"),
        ("我们走吧嗯。 好。", "我们走吧。好。"),
        ("我们走吧， 嗯。 好。", "我们走吧。好。"),
        ("um， we go um home。", "We go home."),
        ("嗯。 三百二十块呃， 好。", "嗯。三百二十块，好。"),
    ],
)
def test_the_mark_of_a_word_left_out_stays(spoken: str, expected: str) -> None:
    segment = said(0, 0, spoken)
    assert written(segment, fillers="leave out") == f"{expected}\n"
    document = json.loads(render(transcript(segment), "json", Options(fillers="leave out")))
    assert [t["text"] for t in document["segments"][0]["tokens"]] == list(segment.tokens.texts)
    assert document["raw"] == segment.text


# subtitles


def test_subtitles_end_with_sentences_and_break_behind_marks() -> None:
    found = shown(said(0, 0, "我们上周完成了第一阶段的测试， 这周开始做第二阶段的开发。 大家有没有问题？"))
    assert [c.text for c in found] == [
        "我们上周完成了第一阶段的测试，\n这周开始做第二阶段的开发。",
        "大家有没有问题？",
    ]


def test_short_sentences_share_a_subtitle() -> None:
    assert [c.text for c in shown(said(0, 0, "好。 对。 我们开始吧。"))] == ["好。对。我们开始吧。"]


def test_a_pause_does_not_leave_a_word_that_could_not_be_read() -> None:
    assert [c.text for c in shown(said(0, 0, "我 _500 们上周完成了测试。"))] == ["我们上周完成了测试。"]
    assert [c.text for c in shown(said(0, 0, "我 _700 在上周完成了测试。"))] == ["我", "在上周完成了测试。"]


def test_a_word_too_short_for_a_subtitle_goes_with_its_clause() -> None:
    texts = "今天不来吗我明天再来"
    starts = (0, 240, 480, 720, 960, 1200, 1940, 2180, 2420, 2660)
    marks = bytes([0, 0, 0, 0, 3, 0, 0, 0, 0, 2])
    tokens = Tokens(texts, starts, tuple(s + 240 for s in starts))
    found = shown(Segment(0, 0, 2900, texts, tokens, marks))
    assert [cue.text for cue in found] == ["今天不来吗？", "我明天再来。"]


def test_a_short_pause_does_not_divide_a_word() -> None:
    texts = "我在图书馆里一下没有看见他"
    starts = tuple(240 * i + (500 if i >= 9 else 0) for i in range(len(texts)))
    tokens = Tokens(texts, starts, tuple(s + 240 for s in starts))
    (cue,) = shown(Segment(0, 0, 4000, texts, tokens, bytes([*[0] * 12, 2])))
    assert "没有" in cue.text


def test_a_subtitle_waits_until_the_one_before_could_be_read() -> None:
    texts = "好的我们下个星期再讨论"
    starts = (0, 300, *range(700, 2500, 200))
    tokens = Tokens(texts, starts, tuple(s + 200 for s in starts))
    marks, speakers = bytes([0, 2, *[0] * 8, 2]), bytes([1, 1, *[2] * 9])
    first, second = shown(Segment(0, 0, 2500, texts, tokens, marks, speakers))
    assert (first.text, first.end_ms, second.start_ms) == ("好的。", 833, 833)


def test_what_a_speaker_says_ends_with_a_sentence() -> None:
    text = written(said(0, 0, "{1} 我觉得， {2} 对 {1} 好。", asked=True))
    assert [line.split("：")[1] for line in text.splitlines() if "：" in line] == ["我觉得。", "对。", "好。"]


def test_lines_have_16_chinese_characters_or_42_letters() -> None:
    chinese = said(
        0, 0, "今天的会议主要讨论明年的工作计划和预算安排以及上海分公司的租金问题请大家先看第一页。" * 2
    )
    lines = [line for cue in shown(chinese) for line in cue.text.split("\n")]
    assert max(map(width, lines)) <= 32
    english = said(
        0, 0, "the quick brown fox jumps over the lazy dog and then it runs away from all of us， " * 2
    )
    lines = [line for cue in shown(english) for line in cue.text.split("\n")]
    assert 32 < max(map(width, lines)) <= 42
    assert all(line.count(" ") for line in lines)


def test_subtitles_are_two_frames_apart_and_stand_until_they_are_read() -> None:
    first, second = shown(said(0, 0, "今天讨论明年的计划。 明年的计划是这样。"))
    assert second.start_ms - first.end_ms == 83
    quick = Tokens("今天讨论明年的计划", tuple(range(0, 450, 50)), tuple(range(50, 500, 50)))
    (alone,) = shown(Segment(0, 0, 450, quick.texts, quick, bytes([*[0] * 8, 2])))  # type: ignore[arg-type]
    assert alone.end_ms == 1111  # 20 half characters at 18 a second


def test_a_subtitle_has_one_speaker() -> None:
    found = shown(said(0, 0, "{1} 你好 {2} 你好。 {1} 嗯。", asked=True))
    assert [(c.speaker, c.text, c.begins) for c in found] == [
        (1, "你好。", True),
        (2, "你好。", True),
        (1, "嗯。", True),
    ]


def test_people_who_speak_at_once_are_shown_together() -> None:
    call = transcript(
        said(0, 0, "{1} 我们上周完成了测试， 这周开始开发。", asked=True),
        said(1, 1000, "{2} 对。", asked=True),
    )
    call = replace(call, speakers=(Speaker(1, None, "channel"), Speaker(2, None, "channel")))
    together, after = Content(call, Options()).cues
    assert (together.text, together.beside and together.beside.text) == ("我们上周完成了测试，", "对。")
    assert after.text == "这周开始开发。"
    assert "- 说话人 1：我们上周完成了测试，\n- 说话人 2：对。\n" in render(call, "srt", Options()).decode()


# invariants

_WORDS = st.one_of(
    st.sampled_from(list("的一是不了人我在有他这中大来上二三百嗯啊")),
    st.sampled_from(["hello", "MIT", "five", "www.a.com", "twenty", "3.5", "go", "um"]),
)


@st.composite
def _transcripts(draw: st.DrawFn) -> Transcript:
    """Transcripts with marks and speakers; positions may repeat, overlap or run backwards in a segment."""
    segments: list[Segment] = []
    cursor = draw(st.integers(0, 3000))
    asked, punctuated = draw(st.booleans()), draw(st.booleans())
    for index in range(draw(st.integers(0, 4))):
        start, words = cursor, draw(st.lists(_WORDS, max_size=25))
        placed: list[tuple[str, int, int]] = []
        for word in words:
            begin = max(0, cursor + draw(st.integers(-100, 300)))
            placed.append((word, begin, max(0, begin + draw(st.integers(-20, 600)))))
            cursor = max(cursor, placed[-1][2])
        many = st.lists(
            st.integers(0, 4).map(lambda n: n * (n % 2)), min_size=len(words), max_size=len(words)
        )
        marks = bytes(draw(st.lists(st.integers(0, 4), min_size=len(words), max_size=len(words))))
        speakers = bytes(draw(many))
        text = re.sub(r"(?<=[^\x00-\x7f]) (?=[^\x00-\x7f])", "", " ".join(words))
        segments.append(
            Segment(
                index, start, max(cursor, start), text, sure(Tokens.of(placed)) if placed else Tokens(),
                marks if punctuated else b"", speakers if asked else b"",
            )
        )  # fmt: skip
        cursor += draw(st.integers(0, 3000))
    return transcript(*segments)


_MARKS = re.compile("[，。？、,.? \n]")


def _letters(text: str) -> str:
    return _MARKS.sub("", text).lower()


@given(_transcripts(), st.sampled_from(["off", "written"]), st.sampled_from(["keep", "leave out"]))
def test_every_format_has_the_same_text_and_every_token(
    given_: Transcript, numbers: str, fillers: str
) -> None:
    options = Options(numbers=numbers, fillers=fillers)
    content = Content(given_, options)
    text = _letters(content.text)
    if numbers == "off" and fillers == "keep":
        assert text == _letters("".join(t for s in given_.segments for t in s.tokens.texts))
    document = json.loads(render(given_, "json", options))
    assert _letters(document["text"]) == text
    assert _letters("".join(s["text"] for s in document["segments"])) == text
    assert _letters("".join(s["text"] for s in document.get("sentences", [{"text": text}]))) == text
    assert _letters("".join(c.text for c in content.cues)) == text
    assert _letters("".join(s.text for s in content.sentences)) == text
    for paragraph in content.paragraphs:
        assert "".join(t for t, _ in paragraph.spans(0.5)) == paragraph.text
    again = read_transcript(render(given_, "json", options)).transcript
    assert [(s.tokens, s.marks, s.speakers, s.text) for s in again.segments] == [
        (s.tokens, s.marks, s.speakers, s.text) for s in given_.segments
    ]
    assert render(again, "json", options) == render(given_, "json", options)


@given(_transcripts())
def test_times_never_go_back_or_overlap(given_: Transcript) -> None:
    content = Content(given_, Options())
    spans = (
        [(c.start_ms, c.end_ms) for c in content.cues],
        [(s.start_ms, s.end_ms) for s in content.sentences],
    )
    for timed in spans:
        assert all(start <= end for start, end in timed)
        assert all(end <= start for (_, end), (start, _) in pairwise(timed))
    assert all(cue.end_ms > cue.start_ms for cue in content.cues)
    assert all(cue.text.count("\n") < 2 for cue in content.cues)


@given(_transcripts())
def test_no_subtitle_and_no_sentence_has_two_speakers(given_: Transcript) -> None:
    runs = Content(given_, Options()).runs
    by_speaker: dict[int, str] = {}
    for run in runs:
        by_speaker[run.speaker] = by_speaker.get(run.speaker, "") + _letters(run.text)
    for speaker, text in by_speaker.items():
        content = Content(given_, Options())
        assert _letters("".join(c.text for c in content.cues if c.speaker == speaker)) == text
        assert _letters("".join(s.text for s in content.sentences if s.speaker == speaker)) == text


@st.composite
def _calls(draw: st.DrawFn) -> Transcript:
    """Two people on channels of their own, who speak at once at times; segments in order of their starts."""
    made: list[tuple[int, str]] = []
    for channel in (1, 2):
        at = 0
        for _ in range(draw(st.integers(0, 5))):
            at += draw(st.integers(0, 2500))
            words = draw(
                st.lists(
                    st.sampled_from(["好", "我们走吧", "下周", "然后我们", "ok"]), min_size=1, max_size=20
                )
            )
            marks = draw(
                st.lists(st.sampled_from(["", "", "，", "。"]), min_size=len(words), max_size=len(words))
            )
            spoken = " ".join(word + mark for word, mark in zip(words, marks, strict=True))
            made.append((at, f"{{{channel}}} {spoken}"))
            at = said(0, at, spoken).end_ms
    segments = [said(i, start, spoken, asked=True) for i, (start, spoken) in enumerate(sorted(made))]
    return replace(transcript(*segments), speakers=(Speaker(1, None, "channel"), Speaker(2, None, "channel")))


@given(_calls())
def test_subtitles_of_people_who_speak_at_once_never_overlap(call: Transcript) -> None:
    content = Content(call, Options())
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(content.cues))
    assert all(cue.start_ms < cue.end_ms <= cue.start_ms + 7000 for cue in content.cues)
    for speaker in (1, 2):
        shown_ = "".join(
            one.text
            for cue in content.cues
            for one in (cue, cue.beside)
            if one is not None and one.speaker == speaker
        )
        spoken = "".join(run.text for run in content.runs if run.speaker == speaker)
        assert _letters(shown_) == _letters(spoken)
        sentences = [one for one in content.sentences if one.speaker == speaker]
        assert all(a.end_ms <= b.start_ms for a, b in pairwise(sentences))


def test_codes_of_marks_are_those_of_the_tokens() -> None:
    assert said(0, 0, "一， 二。 三？ 四、").marks == bytes(CODES.values())
