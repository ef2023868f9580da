"""Measure whether confidence is what it says: share of right tokens by the probability that the model gave them.

    .venv/bin/python benchmarks/calibration.py DIR [--model paraformer-mini] [--device cpu] [--references DIR] [--out FILE.json]

Recordings of DIR with a reference (as of `dropscribe eval`) are recognised and aligned with it, token by token. A token is
right if it stands at its place in the alignment, without case, width and marks. `gap` is the mean difference of probability
and share of right ones over the bins, weighted by their tokens (expected calibration error); `auc` is the probability that
a right token has a higher confidence than a wrong one. `fit` is the logistic curve through the tokens (slope and offset of
the logit) that would close the gap, from every other recording, and the gap that it leaves on the rest.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import surroundings

from dropscribe.cli.arguments.settings import in_force
from dropscribe.pipeline.oneshot import OneShot
from dropscribe.pipeline.problem import Problem
from dropscribe.scoring import edits
from dropscribe.scoring.normalisation import Normalisation
from dropscribe.scoring.pairs import pair_up
from dropscribe.transcript.remarks import DOUBT_TOKENS
from dropscribe.transcript.types import Segment

#: Lower bounds of the bins.
BINS = (0.0, 0.3, 0.5, 0.7, 0.9, 0.99)


def judged(segments: Sequence[Segment], reference: str, rules: Normalisation) -> Iterator[tuple[float, bool]]:
    """Probability of each token, and whether it is right."""
    pieces: list[str] = []
    owners: list[int] = []
    sure: list[float] = []
    for segment in segments:
        for text, confidence in zip(segment.tokens.texts, segment.tokens.confidence, strict=True):
            for piece in rules.characters(text):
                pieces.append(piece)
                owners.append(len(sure))
            sure.append(confidence / 255)
    right = [True] * len(sure)
    for block in edits.align(rules.characters(reference), pieces):
        if block.kind != edits.EQUAL:
            for at in range(block.other_first, block.other_end):
                right[owners[at]] = False
    yield from zip(sure, right, strict=True)


def table(found: Sequence[tuple[float, bool]]) -> list[dict[str, Any]]:
    rows = []
    for low, high in zip(BINS, (*BINS[1:], 1.01), strict=True):
        inside = [(sure, right) for sure, right in found if low <= sure < high]
        if inside:
            rows.append(
                {
                    "from": low,
                    "to": min(high, 1.0),
                    "tokens": len(inside),
                    "mean_confidence": round(sum(sure for sure, _ in inside) / len(inside), 3),
                    "right": round(sum(right for _, right in inside) / len(inside), 3),
                }
            )
    return rows


def gap_of(found: Sequence[tuple[float, bool]]) -> float:
    rows = table(found)
    return round(
        sum(r["tokens"] * abs(r["mean_confidence"] - r["right"]) for r in rows) / max(1, len(found)), 3
    )


def fitted(found: Sequence[tuple[float, bool]]) -> tuple[float, float]:
    """Slope and offset with the highest likelihood, by Newton's method."""
    slope, offset = 1.0, 0.0
    points = [(logit(sure), right) for sure, right in found]
    for _ in range(30):
        g = [0.0, 0.0]
        h = [[1e-6, 0.0], [0.0, 1e-6]]
        for x, right in points:
            p = 1 / (1 + math.exp(-(slope * x + offset)))
            w = p * (1 - p)
            g[0] += (right - p) * x
            g[1] += right - p
            h[0][0] += w * x * x
            h[0][1] += w * x
            h[1][1] += w
        det = h[0][0] * h[1][1] - h[0][1] ** 2
        slope += (h[1][1] * g[0] - h[0][1] * g[1]) / det
        offset += (h[0][0] * g[1] - h[0][1] * g[0]) / det
    return slope, offset


def logit(share: float) -> float:
    bounded = min(max(share, 0.5 / 255), 1 - 0.5 / 255)
    return math.log(bounded / (1 - bounded))


def curved(found: Sequence[tuple[float, bool]], slope: float, offset: float) -> list[tuple[float, bool]]:
    return [(1 / (1 + math.exp(-(slope * logit(sure) + offset))), right) for sure, right in found]


def fit(files: Sequence[list[tuple[float, bool]]]) -> dict[str, Any]:
    learnt = [one for file in files[::2] for one in file]
    rest = [one for file in files[1::2] for one in file]
    slope, offset = fitted(learnt)
    return {
        "slope": round(slope, 3),
        "offset": round(offset, 3),
        "gap_of_the_rest_before": gap_of(rest),
        "gap_of_the_rest": gap_of(curved(rest, slope, offset)),
    }


def auc(found: Sequence[tuple[float, bool]]) -> float | None:
    right = [sure for sure, good in found if good]
    wrong = [sure for sure, good in found if not good]
    if not right or not wrong:
        return None
    higher = sum((a > b) + (a == b) / 2 for a in right for b in wrong)
    return round(higher / (len(right) * len(wrong)), 3)


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--references", type=Path)
    parser.add_argument("--model", default="paraformer-mini")
    parser.add_argument("--vad-model", default="vad-mini")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    chosen = in_force(model=options.model, vad_model=options.vad_model, device=options.device)
    pairs = {pair.path.absolute(): pair for pair in pair_up(options.folder, options.references).pairs}
    rules = Normalisation()
    by_name: dict[str, list[tuple[float, bool]]] = {}
    with OneShot(chosen.settings) as engine:
        for finished in engine.transcribe(list(pairs), lambda *_: None):
            text = pairs[finished.path].reference.text
            if text is not None and not isinstance(finished.end, Problem):
                by_name[pairs[finished.path].name] = list(judged(finished.end.segments, text, rules))
    files = [by_name[name] for name in sorted(by_name)]
    found = [one for file in files for one in file]
    means = {
        name: {
            "tokens": len(file),
            "mean_confidence": round(sum(sure for sure, _ in file) / len(file), 3),
            "right": round(sum(right for _, right in file) / len(file), 3),
        }
        for name, file in sorted(by_name.items())
        if len(file) >= DOUBT_TOKENS
    }
    figures = {
        "files": len(files),
        "tokens": len(found),
        "bins": table(found),
        "gap": gap_of(found),
        "auc": auc(found),
        "fit": fit(files),
        "fit_of_all": [round(x, 3) for x in fitted(found)],
        "recordings": means,
    }
    surroundings.report("calibration", options, figures)


if __name__ == "__main__":
    main()
