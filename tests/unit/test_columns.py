"""Text in columns of a terminal."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from dropscribe.columns import columns, cropped, folded, shortened, table

#: Letters of one and two columns, combining marks, and what paths consist of.
TEXTS = st.text(st.sampled_from("abc./-_ é会議メ한e\u0301…×"), max_size=60)


@given(TEXTS)
def test_the_width_is_that_of_the_terminal(text: str) -> None:
    assert columns(text) == cell_len(text)


@example("_._メ", 4)
@given(TEXTS, st.integers(4, 70))
def test_nothing_is_wider_than_there_is_room(text: str, width: int) -> None:
    assert columns(cropped(text, width)) <= width
    assert columns(shortened(text, width)) <= width
    if columns(text) <= width:
        assert cropped(text, width) == shortened(text, width) == text


@pytest.mark.parametrize(
    ("path", "width", "shown"),
    [
        ("inbox/meeting.m4a", 17, "inbox/meeting.m4a"),
        ("/srv/recordings/2026/11/meeting.m4a", 24, "/srv/record…/meeting.m4a"),
        ("/srv/recordings/meeting.m4a", 14, "/…/meeting.m4a"),
        ("/srv/recordings/a very long name of a meeting.m4a", 20, "a very l…meeting.m4a"),
        ("2026年第三季度全体员工会议录音.m4a", 20, "2026年第…议录音.m4a"),
        ("no-extension-but-a-long-name", 11, "no-ex…-name"),
    ],
)
def test_a_path_is_shortened_in_its_middle(path: str, width: int, shown: str) -> None:
    assert shortened(path, width) == shown


@given(st.lists(st.tuples(TEXTS, st.just("12"), TEXTS), max_size=5), st.integers(30, 120))
def test_each_row_of_a_table_is_one_line_and_columns_are_aligned(
    rows: list[tuple[str, str, str]], width: int
) -> None:
    lines = table(("name", "job", "text"), rows, width)
    assert len(lines) == len(rows) + 1
    assert all(columns(line) <= width for line in lines)
    at = {
        columns(line[: line.index(mark)])
        for line, mark in zip(lines, ["job", *["12"] * len(rows)], strict=True)
    }
    assert len(at) == 1


def test_a_table_that_fits_has_all_of_its_text() -> None:
    rows = [("会议.m4a", "1", "51:11 in 71 s (43×)"), ("a.wav", "12", "")]
    assert table(("recording", "job", "result"), rows, 80) == [
        "recording  job  result",
        "会议.m4a   1    51:11 in 71 s (43×)",
        "a.wav      12",
    ]


def test_text_is_folded_at_blanks_and_a_path_stays_whole() -> None:
    text = "the file /srv/recordings/some/where/deep/meeting.m4a is too long"
    assert folded(text, 20) == ["the file", "/srv/recordings/some/where/deep/meeting.m4a", "is too long"]
    assert folded("", 20) == [""]
