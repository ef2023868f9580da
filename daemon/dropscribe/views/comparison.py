"""Error rates and differences of transcripts as JSON documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dropscribe.escapes import readable
from dropscribe.scoring.attribution import Attribution
from dropscribe.scoring.diarization import DiarizationError
from dropscribe.scoring.differences import Difference, joined
from dropscribe.scoring.edits import EditCounts
from dropscribe.scoring.pairs import Pairing
from dropscribe.scoring.scores import Confusion, FileScore, Rules, Total

EVAL_SCHEMA = "dropscribe/eval/1"
DIFF_SCHEMA = "dropscribe/diff/1"
#: Most confusions in a document.
MOST_CONFUSIONS = 100


def eval_document(
    folder: Path, rules: Rules, pairing: Pairing, totals: Sequence[Total], scored: Sequence[FileScore]
) -> dict[str, Any]:
    """dropscribe/eval/1: folder, rules, totals (one a profile), recordings, and what could not be compared."""
    return {
        "schema": EVAL_SCHEMA,
        "folder": readable(folder),
        "rules": {**asdict(rules.text), "collar_ms": rules.collar_ms, "overlap": rules.overlap},
        "totals": [
            {
                "profile": t.profile,
                "models": list(t.models),
                "files": t.files,
                "failed": t.failed,
                "audio_s": round(t.audio_s, 3),
                "characters": _counts(t.characters),
                "words": _counts(t.words),
                "speakers": _speakers(t.speakers, t.attribution),
                "confusions": _confusions(t.confusions),
            }
            for t in totals
        ],
        "recordings": [_recording(one) for one in scored],
        "without_reference": [readable(p) for p in pairing.alone],
        "without_recording": [readable(p) for p in pairing.without_recording],
        "bad_references": [{"path": readable(b.path), "reason": b.reason} for b in pairing.bad],
    }


def _recording(one: FileScore) -> dict[str, Any]:
    found = one.score
    return {
        "file": readable(one.name),
        "profile": one.profile,
        "model": one.model or None,
        "audio_s": round(one.audio_s, 3) if found else None,
        "characters": None if found is None else _counts(found.characters),
        "words": None if found is None else _counts(found.words),
        "speakers": None if found is None else _speakers(found.speakers, found.attribution),
        "problem": one.problem or None,
    }


def _counts(counts: EditCounts | None) -> dict[str, Any] | None:
    return None if counts is None else {"rate": _rate(counts.rate), **asdict(counts)}


def _speakers(error: DiarizationError | None, said: Attribution | None) -> dict[str, Any] | None:
    if error is None:
        return None
    counted = said or Attribution()
    return {
        "rate": _rate(error.rate),
        **asdict(error),
        "words": counted.words,
        "wrong_words": counted.wrong,
        "expected": counted.expected,
        "found": counted.found,
    }


def _rate(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _confusions(counted: Counter[Confusion]) -> list[dict[str, Any]]:
    return [{**asdict(one), "times": times} for one, times in most_frequent(counted, MOST_CONFUSIONS)]


def most_frequent(counted: Counter[Confusion], most: int) -> list[tuple[Confusion, int]]:
    """Confusions that come most often, equally frequent ones in order of their texts."""
    return sorted(counted.items(), key=lambda item: (-item[1], item[0].expected, item[0].recognised))[:most]


def diff_document(first: Mapping[str, Any], other: Mapping[str, Any], found: Difference) -> dict[str, Any]:
    """dropscribe/diff/1: both transcripts (as the caller describes them), characters, words, times, changes."""
    return {
        "schema": DIFF_SCHEMA,
        "first": dict(first),
        "other": dict(other),
        "characters": _counts(found.characters),
        "words": {
            "first": len(found.words),
            "other": len(found.other_words),
            "changed": sum(max(c.end - c.first, c.other_end - c.other_first) for c in found.changes),
        },
        "times": asdict(found.shifts),
        "changes": [
            {
                "start_ms": found.start_ms(change),
                "first": joined(found.words[change.first : change.end]),
                "other": joined(found.other_words[change.other_first : change.other_end]),
                "first_words": [change.first, change.end],
                "other_words": [change.other_first, change.other_end],
            }
            for change in found.changes
        ],
    }
