"""References in every format, and which recording they belong to."""

from __future__ import annotations

from pathlib import Path

import pytest

from dropscribe.scoring.diarization import Turn
from dropscribe.scoring.pairs import pair_up
from dropscribe.scoring.references import BadReferenceError, Reference, ending_of, read_reference, read_table
from dropscribe.transcript import render
from dropscribe.transcript.types import Segment, Transcript
from tests.support import transcripts

LONG_GRID = '''File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 3
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "S 01"
        xmin = 0
        xmax = 3
        intervals: size = 2
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "你好 ""老师"""
        intervals [2]:
            xmin = 1.5
            xmax = 3
            text = ""
    item [2]:
        class = "IntervalTier"
        name = "S 02"
        xmin = 0
        xmax = 3
        intervals: size = 1
        intervals [1]:
            xmin = 1.25
            xmax = 3
            text = "再见"
'''
SHORT_GRID = '"ooTextFile"\n"TextGrid"\n0\n3\n<exists>\n2\n"IntervalTier"\n"words"\n0\n3\n1\n0\n3\n"你好"\n"IntervalTier"\n"phones"\n0\n3\n1\n0\n3\n"n"\n'


def spoken(*texts: str) -> Transcript:
    """A transcript of these segments, a token a character."""
    return transcripts.transcript(*(
        Segment(i, i * 6000, i * 6000 + 5000, text, transcripts.tokens(list(text), i * 6000))
        for i, text in enumerate(texts)
    ))  # fmt: skip


def test_plain_text_without_remarks_in_several_encodings() -> None:
    expected = Reference("你好\n再见")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "gb18030"):
        assert (
            read_reference("你好\n再见\n[demonstration model]".encode(encoding), ".txt").text == expected.text
        )


def test_text_grids() -> None:
    assert read_reference(LONG_GRID.encode(), ".textgrid") == Reference(
        '你好 "老师"\n再见', (Turn(0, 1500, "S 01"), Turn(1250, 3000, "S 02"))
    )
    assert read_reference(SHORT_GRID.encode("utf-16"), ".textgrid") == Reference("你好")


def test_rttm_and_tables_with_speakers() -> None:
    rttm = b";; made by hand\nSPEAKER x 1 0.252 23.298 <NA> <NA> Ann <NA> <NA>\n\nNON-SPEECH x 1 0 1\n"
    assert read_reference(rttm, ".rttm").turns == (Turn(252, 23550, "Ann"),)
    table = "start\tend\tspeaker\ttext\n0\t900\tAnn\t你好\n900\t1000\t\t嗯\n".encode()
    assert read_reference(table, ".tsv") == Reference("你好\n嗯", (Turn(0, 900, "Ann"),))
    vtt = (
        "WEBVTT\n\n00:01.000 --> 00:02.500\n<v Ann>你好</v>\n\n01:00:00.000 --> 01:00:01.000\n再见\n".encode()
    )
    assert read_reference(vtt, ".vtt") == Reference("你好\n再见", (Turn(1000, 2500, "Ann"),))


@pytest.mark.parametrize("format_name", ["txt", "tsv", "labels", "srt", "vtt", "json"])
def test_what_dropscribe_writes_is_read_back_as_it_was_said(format_name: str) -> None:
    made = spoken("今天天气不错", "我们去公园")
    written = render.render(made, format_name, render.Options())
    ending = ".labels.txt" if format_name == "labels" else f".{format_name}"
    said = read_reference(written, ending).text or ""
    assert "".join(said.split()) == "今天天气不错我们去公园"


@pytest.mark.parametrize(
    ("data", "ending", "reason"),
    [
        (b"\xff\xff\xff", ".txt", "UTF-8"),
        (b"a\tb\n", ".tsv", "no column 'start'"),
        (b"start\tend\ttext\n1\n", ".tsv", "line 2: 1 columns"),
        (b"start\tend\ttext\tspeaker\nx\t1\ta\tb\n", ".tsv", "line 2: 'x' is no time"),
        (b"SPEAKER x 1 zero 1 <NA> <NA> A\n", ".rttm", "line 1: 'zero' is no time"),
        (b"SPEAKER x 1 nan 1 <NA> <NA> A\n", ".rttm", "line 1: 'nan' is no time"),
        (b"SPEAKER x 1\n", ".rttm", "line 1: 3 fields"),
        (b"SPEAKER x 1 0 1 - - A\nSPEAKER y 1 0 1 - - A\n", ".rttm", "2 recordings"),
        (b"words", ".rttm", "no line SPEAKER"),
        (b"hello", ".textgrid", "first line"),
        (LONG_GRID[:300].encode(), ".textgrid", "ends in the middle"),
        (b"x", ".srt", "no subtitle"),
        (b"1.0 text", ".labels.txt", "line 1"),
        (b"{}", ".json", "not a transcript"),
    ],
)
def test_a_bad_reference_is_refused_with_its_reason(data: bytes, ending: str, reason: str) -> None:
    with pytest.raises(BadReferenceError, match=reason):
        read_reference(data, ending)


def test_a_table_of_many_recordings() -> None:
    assert read_table("file\treference\tsource\na/b.wav\t你好\t-\nc.wav\t\t-\n".encode()) == {
        "a/b.wav": Reference("你好")
    }
    assert read_table(b"start\tend\ttext\n") is None
    rttm = b"SPEAKER x 1 0 1 <NA> <NA> A\nSPEAKER y 1 0 2 <NA> <NA> B\n"
    assert read_table(rttm) == {
        "x": Reference(turns=(Turn(0, 1000, "A"),)),
        "y": Reference(turns=(Turn(0, 2000, "B"),)),
    }
    with pytest.raises(BadReferenceError, match="line 3: 'a' is there twice"):
        read_table(b"file\ttext\na\tx\na\ty\n")


def test_endings_are_found_whatever_their_case() -> None:
    assert ending_of("a.TextGrid") == ".textgrid"
    assert ending_of("a.labels.txt") == ".labels.txt"
    assert ending_of("a.wav") is None


def put(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_recordings_and_references_are_paired_by_name(tmp_path: Path) -> None:
    rttm = "SPEAKER a 1 0 1 <NA> <NA> A <NA> <NA>\n"
    put(
        tmp_path,
        a_wav="",
        a_txt="一",
        a_rttm=rttm,
        sub__b_mp3="",
        sub__b_mp3_txt="二",
        c_wav="",
        d_txt="四",
        e_wav="",
        e_rttm="?",
    )
    found = pair_up(tmp_path)
    assert [(p.name, p.reference.text) for p in found.pairs] == [("a.wav", "一"), ("sub/b.mp3", "二")]
    assert found.pairs[0].reference.turns == (Turn(0, 1000, "A"),)
    assert found.alone == (tmp_path / "c.wav", tmp_path / "e.wav")
    assert found.without_recording == (tmp_path / "d.txt",)
    assert [(b.path.name, b.reason) for b in found.bad] == [("e.rttm", "it has no line SPEAKER")]


def test_a_table_names_recordings_by_path_or_by_a_name_that_is_there_once(tmp_path: Path) -> None:
    put(tmp_path, x__a_wav="", y__a_wav="", y__b_wav="")
    (tmp_path / "refs.tsv").write_text("file\ttext\nx/a.wav\t一\na\t二\nb\t三\n", encoding="utf-8")
    found = pair_up(tmp_path)
    assert [(p.name, p.reference.text) for p in found.pairs] == [("x/a.wav", "一"), ("y/b.wav", "三")]


def test_transcripts_of_dropscribe_are_not_taken_for_references(tmp_path: Path) -> None:
    made = spoken("机器写的")
    put(tmp_path, talk_wav="", talk_txt="机器写的\n", talk_ref_txt="人写的")
    (tmp_path / "talk.json").write_bytes(render.render(made, "json", render.Options()))
    found = pair_up(tmp_path)
    assert [(p.name, p.reference.text) for p in found.pairs] == [("talk.wav", "人写的")]
    assert found.without_recording == ()
    put(tmp_path, refs__talk_txt="也是人写的")
    assert pair_up(tmp_path, tmp_path / "refs").pairs[0].reference.text == "也是人写的"
