"""Names of transcript files."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropscribe.transcript.naming import (
    NAME_BYTES,
    DirectoryState,
    NamePlan,
    form_of,
    name_of,
    plan_names,
    target_directory,
)

FOLDER = Path("/inbox")
FORMATS = ("txt", "srt", "vtt", "json", "timing")
MEETING = FOLDER / "meeting.m4a"


def decide(
    recording: Path = MEETING,
    *,
    there: Collection[str] = (),
    ours: Collection[str] = (),
    siblings: Iterable[str] = (),
    kept: str | None = None,
    formats: tuple[str, ...] = FORMATS,
    output_dir: Path | None = None,
    language: str = "",
) -> NamePlan:
    state = DirectoryState(
        target_directory(recording, folder=FOLDER, output_dir=output_dir),
        names=frozenset({*there, *ours, recording.name}),
        ours=frozenset(ours),
        siblings=frozenset({recording.name, *siblings}),
        kept=kept,
        language=language,
    )
    return plan_names(recording, formats, state)


def names(plan: NamePlan) -> list[str]:
    return [p.name for p in plan.paths.values()]


SHORT = ["meeting.txt", "meeting.srt", "meeting.vtt", "meeting.json", "meeting.timing.json"]
FULL = [n.replace("meeting", "meeting.m4a") for n in SHORT]
SECOND = [n.replace("meeting", "meeting.m4a.2") for n in SHORT]


def test_short_names_beside_the_recording_by_default() -> None:
    decided = decide()
    assert decided.form == "short"
    assert list(decided.paths.values()) == [FOLDER / n for n in SHORT]


@pytest.mark.parametrize("taken", SHORT)
def test_one_foreign_file_gives_all_files_the_full_form(taken: str) -> None:
    assert names(decide(there=[taken])) == FULL


def test_a_name_of_a_format_that_is_not_written_does_not_matter() -> None:
    assert decide(there=["meeting.srt"], formats=("txt",)).form == "short"


@pytest.mark.parametrize("sibling", ["meeting.wav", "Meeting.wav", "MEETING.M4A", "meeting.m4a.m4a"])
def test_a_second_recording_of_the_same_stem_gives_the_full_form(sibling: str) -> None:
    expected = SHORT if sibling == "meeting.m4a.m4a" else FULL
    assert names(decide(siblings=[sibling, "meeting.m4a"])) == expected


def test_numbers_when_the_full_form_is_taken_too() -> None:
    assert names(decide(there=["meeting.txt", "meeting.m4a.srt"])) == SECOND
    third = decide(there=["meeting.txt", "meeting.m4a.srt", "meeting.m4a.2.json"])
    assert third.form == "full.3"


def test_our_own_files_are_replaced() -> None:
    assert names(decide(ours=SHORT)) == SHORT
    assert names(decide(ours=FULL, kept="full")) == FULL


def test_the_form_is_kept_when_its_reason_disappears_or_a_new_one_appears() -> None:
    assert names(decide(ours=FULL, kept="full")) == FULL
    assert names(decide(ours=SHORT, kept="short", siblings=["meeting.wav"])) == SHORT
    assert names(decide(ours=SECOND, kept="full.2")) == SECOND


def test_a_transcript_edited_by_a_person_is_foreign() -> None:
    assert names(decide(there=["meeting.txt"], ours=SHORT[1:], kept="short")) == FULL


def test_a_name_that_differs_only_in_case_is_taken() -> None:
    assert names(decide(there=["Meeting.TXT"])) == FULL
    assert names(decide(there=["Meeting.TXT"], ours=["Meeting.TXT"])) == FULL


def test_our_file_keeps_its_name_beside_one_that_differs_in_case() -> None:
    # Both exist, so the file system distinguishes them.
    assert names(decide(there=["MEETING.txt"], ours=SHORT, kept="short")) == SHORT


def test_a_name_composed_differently_is_taken() -> None:
    recording = FOLDER / "caf\u00e9.wav"
    assert decide(recording, there=["cafe\u0301.txt"]).form == "full"


def test_output_dir_mirrors_the_tree() -> None:
    recording = FOLDER / "2026" / "march" / "a.wav"
    decided = decide(recording, output_dir=Path("/texts"))
    assert decided.paths["txt"] == Path("/texts/2026/march/a.txt")
    assert target_directory(recording, folder=FOLDER, output_dir=Path("texts")) == Path(
        "/inbox/texts/2026/march"
    )


def test_names_without_a_stem_or_with_many_dots() -> None:
    assert decide(FOLDER / "2026.03.01 call.final.wav").paths["txt"].name == "2026.03.01 call.final.txt"


def test_a_name_that_is_not_utf8_keeps_its_bytes() -> None:
    recording = FOLDER / os.fsdecode(b"not-\xff-utf8.wav")
    assert os.fsencode(decide(recording).paths["txt"].name) == b"not-\xff-utf8.txt"


def test_the_longest_names_fit_and_stay_distinct() -> None:
    long = "会" * 83
    first, second = (FOLDER / f"{long}{c}.wav" for c in "一二")
    assert len(os.fsencode(first.name)) > 250
    made = [set(names(decide(r, there=t))) for r in (first, second) for t in ((), ["x"])]
    for name in set.union(*made):
        assert len(os.fsencode(name)) <= NAME_BYTES
        os.fsencode(name).decode("utf-8")
    assert not made[0] & made[2]
    bases = {n.removesuffix(e) for n in made[0] for e in (".timing.json",) if n.endswith(e)}
    assert all(n.startswith(next(iter(bases))) for n in made[0])


@pytest.mark.parametrize("form", ["short", "full", "full.2", "full.17"])
@pytest.mark.parametrize("name", ["meeting.m4a", "会" * 83 + ".wav", "a.2.wav", "plain"])
@pytest.mark.parametrize("format_name", FORMATS)
def test_the_form_is_found_from_a_recorded_name(form: str, name: str, format_name: str) -> None:
    recording = FOLDER / name
    found = form_of(recording, format_name, name_of(recording, format_name, form))
    assert found is not None
    assert name_of(recording, format_name, found) == name_of(recording, format_name, form)


@pytest.mark.parametrize("form", ["short", "full", "full.2"])
@pytest.mark.parametrize("name", ["meeting.m4a", "会" * 83 + ".wav", "a.zh.wav"])
@pytest.mark.parametrize("language", ["zh", "zh-Hant", "yue-HK"])
def test_the_form_is_found_from_a_name_with_a_language(form: str, name: str, language: str) -> None:
    recording = FOLDER / name
    made = name_of(recording, "srt", form, language)
    assert made.endswith(f".{language}.srt")
    assert len(os.fsencode(made)) <= NAME_BYTES
    assert form_of(recording, "srt", made) == form
    assert form_of(recording, "json", name_of(recording, "json", form, language)) == form


def test_only_subtitles_have_a_language_in_their_names() -> None:
    assert names(decide(language="zh")) == [
        "meeting.txt", "meeting.zh.srt", "meeting.zh.vtt", "meeting.json", "meeting.timing.json"
    ]  # fmt: skip


def test_subtitles_of_another_owner_with_the_language_are_not_replaced() -> None:
    assert decide(language="zh", there=["meeting.srt"]).form == "short"
    assert decide(language="zh", there=["meeting.zh.srt"]).form == "full"
    assert decide(language="zh", ours=["meeting.zh.srt"]).form == "short"


def test_an_unknown_name_has_no_form() -> None:
    assert form_of(MEETING, "txt", "holiday.txt") is None
    assert form_of(MEETING, "txt", "holiday.m4a.2.txt") is None


@given(
    st.sets(st.sampled_from([*SHORT, *FULL, *SECOND, "MEETING.TXT", "meeting.M4A.srt"])),
    st.sets(st.sampled_from([*SHORT, *FULL, *SECOND])),
    st.booleans(),
    st.sampled_from([None, "short", "full", "full.2", "full.5"]),
)
def test_the_name_of_a_foreign_file_is_never_chosen(
    strangers: set[str], mine: set[str], sibling: bool, kept: str | None
) -> None:
    mine -= strangers
    decided = decide(there=strangers, ours=mine, siblings=["meeting.wav"] if sibling else [], kept=kept)
    taken = {s.casefold() for s in strangers}
    assert not {n.casefold() for n in names(decided) if n not in mine} & taken
    assert not set(names(decided)) & strangers
    again = decide(
        there=strangers, ours=mine | set(names(decided)), siblings=["meeting.wav"], kept=decided.form
    )
    assert again == decided


@pytest.mark.parametrize(
    ("form", "format_name", "name"),
    [
        ("v2.short", "txt", "talk.v2.txt"),
        ("v12.full", "json", "talk.m4a.v12.json"),
        ("v2.full.3", "timing", "talk.m4a.3.v2.timing.json"),
    ],
)
def test_a_version_beside_others_has_its_number_in_its_names(form: str, format_name: str, name: str) -> None:
    recording = Path("/in/talk.m4a")
    assert name_of(recording, format_name, form) == name
    assert form_of(recording, format_name, name) == form


def test_a_number_in_the_name_of_a_recording_is_no_version() -> None:
    assert form_of(Path("/in/talk.v2.m4a"), "txt", "talk.v2.txt") == "short"
