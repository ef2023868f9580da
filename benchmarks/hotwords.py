"""Measure whether hotwords shorten the text: tokens of recordings recognised with and without them.

    .venv/bin/python benchmarks/hotwords.py DIR [--model DIR] [--hotwords WORD WORD …] [--device cpu] [--out FILE.json]

Without --model, a small SeACo-Paraformer with random weights is made; its text has no meaning, but its hotword decoder puts
tokens in place of others far more often than a trained one. `shorter` names the recordings with fewer tokens; `changed` is the share of the
tokens that hotwords changed. Characters may differ either way: a hotword of another length takes the place of a token.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import random_model
import surroundings

from dropscribe.cli.arguments.settings import in_force
from dropscribe.formats import RECORDING_EXTENSIONS
from dropscribe.pipeline.oneshot import OneShot
from dropscribe.pipeline.problem import Problem
from dropscribe.transcript.types import Segment

#: Words of the random model's vocabulary, and two with characters that it does not know.
HOTWORDS = ("乀乁", "一丁七 丈三", "丐", "上x", "达摩院")


def texts_of(segments: Sequence[Segment]) -> list[str]:
    return [text for segment in segments for text in segment.tokens.texts]


def recognised(engine: OneShot, paths: list[Path], profile: str) -> dict[Path, list[str]]:
    """Tokens of each recording that can be read."""
    return {
        finished.path: texts_of(finished.end.segments)
        for finished in engine.transcribe(paths, lambda *_: None, profile)
        if not isinstance(finished.end, Problem)
    }


def compared(plain: dict[Path, list[str]], heard: dict[Path, list[str]]) -> dict[str, Any]:
    pairs = {path: (plain[path], heard[path]) for path in plain}
    tokens = sum(len(a) for a, _ in pairs.values())
    changed = sum(a != b for one, other in pairs.values() for a, b in zip(one, other, strict=False))
    return {
        "recordings": len(pairs),
        "tokens_without": tokens,
        "tokens_with": sum(len(b) for _, b in pairs.values()),
        "characters_without": sum(map(len, (text for a, _ in pairs.values() for text in a))),
        "characters_with": sum(map(len, (text for _, b in pairs.values() for text in b))),
        "changed": round(changed / tokens, 4) if tokens else 0.0,
        "shorter": [path.name for path, (a, b) in pairs.items() if len(b) < len(a)],
    }


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, help="directory of a model that takes hotwords")
    parser.add_argument("--vad-model", default="vad-mini")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--hotwords", nargs="+", default=list(HOTWORDS))
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    paths = sorted(
        p.absolute() for p in options.folder.rglob("*") if p.suffix.lower() in RECORDING_EXTENSIONS
    )
    with tempfile.TemporaryDirectory() as scratch:
        model = options.model or Path(scratch) / "model"
        if options.model is None:
            random_model.write(model, family="seaco", small=True)
        config = Path(scratch) / "dropscribe.toml"
        words = ", ".join(f'"{word}"' for word in options.hotwords)
        plain = '[profiles.default]\npunctuation = "off"\n'
        config.write_text(
            f'{plain}[profiles.heard]\npunctuation = "off"\nhotwords = [{words}]\n', encoding="utf-8"
        )
        chosen = in_force(config=config, model=str(model), vad_model=options.vad_model, device=options.device)
        with OneShot(chosen.settings) as engine:
            figures = compared(recognised(engine, paths, "default"), recognised(engine, paths, "heard"))
    surroundings.report("hotwords", options, figures)


if __name__ == "__main__":
    main()
