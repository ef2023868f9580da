"""Count the tokens that products in bf16 and int8 change on a CPU, by how sure fp32 is of them, and say which do it.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/cpu_tokens.py [FILE or FOLDER ...] [--references FILE.tsv]
        [--model DIR] [--emulate] [--onnx DIR] [--out FILE.json]

Recordings are cut into equal pieces of 10 s at most and recognised one by one, in fp32, int8 and bf16, as far as
the processor has it. Without recordings it is the bundled sample, whose tokens are too few for a rate. A token of fp32 differs if the
alignment with the fewest edits replaces or removes it; inserted ones count, too. The margin of a token is the logarithm
of its probability over that of the second best, in fp32. References give character error rates: lines of file name, as
it ends, and text, separated by a tab.

With --emulate, products of 8 bits and in bf16 are emulated in fp32, on any processor alike: weights only, activations
only, both, with fewer bits, and one kind of product at a time. With --onnx, FunASR exports the model to DIR, and funasr-onnx recognises
the same pieces in int8 and fp32 (its packages: see cpu_peers.py).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cpu_peers
import numpy as np
import surroundings
import torch
from torch import Tensor

from dropscribe.engine.core.interfaces import Pcm, SpeechSegment
from dropscribe.engine.layers import sanm
from dropscribe.engine.layers.linear import bf16, int8
from dropscribe.engine.layers.linear.product import Factors, Product
from dropscribe.engine.models import store
from dropscribe.engine.models.loading import LoadedModel, choose_device, load
from dropscribe.engine.models.paraformer.forward import SILENT_IDS, DecodedSegment
from dropscribe.engine.models.paraformer.joined_forward import JoinedForward
from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser
from dropscribe.formats import RECORDING_EXTENSIONS
from dropscribe.scoring.edits import EQUAL, EditCounts, align, count
from dropscribe.scoring.normalisation import Normalisation
from tests.support import decoding

RATE = 16_000
LONGEST_S = 10.0
SHORTEST_S = 0.1
#: Upper bounds of the classes of margins.
MARGINS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, math.inf)


@dataclass
class Heard:
    """Tokens of a piece of a recording."""

    ids: list[int]
    text: str = ""
    margins: list[float] = field(default_factory=list)


#: Name of a recording and number of the piece → its tokens.
AllHeard = dict[tuple[str, int], Heard]
Pieces = dict[tuple[str, int], Pcm]


class Recorded:
    """A forward pass that keeps token numbers and margins of the last segment."""

    def __init__(self, loaded: LoadedModel, factors: Factors) -> None:
        self._forward = JoinedForward(loaded.module, loaded.frontend, factors=factors)
        decoder = self._forward._decoder  # noqa: SLF001 - the product does not hand out scores
        self._scores = decoder.scores
        decoder.scores = self._kept  # type: ignore[method-assign]
        self.last = Heard([])

    def encode_hotwords(self, words: Sequence[Sequence[int]]) -> Any:
        return self._forward.encode_hotwords(words)

    def __call__(self, sounds: Sequence[Any], hotwords: Sequence[Any]) -> list[DecodedSegment]:
        self.last = Heard([])
        found = self._forward(sounds, hotwords)
        self.last.ids = found[0].ids
        return found

    def _kept(self, hidden: Tensor) -> Tensor:
        scores = self._scores(hidden)
        best = scores.topk(2, dim=-1)
        margins = (best.values[:, 0] - best.values[:, 1])[best.indices[:, 0] >= SILENT_IDS]
        self.last.margins = margins.tolist()
        return scores


def pieces_of(given: Sequence[Path]) -> Pieces:
    """Pieces of all recordings."""
    files = [
        path
        for one in given
        for path in (sorted(one.rglob("*")) if one.is_dir() else [one])
        if path.suffix.lower() in RECORDING_EXTENSIONS
    ]
    made: Pieces = {}
    for path in files:
        _, pcm = decoding.run(path)
        parts = np.array_split(pcm, math.ceil(len(pcm) / (LONGEST_S * RATE)))
        made |= {(str(path), i): part for i, part in enumerate(parts) if len(part) >= SHORTEST_S * RATE}
    return made


def heard(loaded: LoadedModel, pieces: Pieces, factors: Factors) -> AllHeard:
    forward = Recorded(loaded, factors)
    recogniser = ParaformerRecogniser(loaded, forward)
    made: AllHeard = {}
    for key, pcm in pieces.items():
        forward.last = Heard([])
        (found,) = recogniser([SpeechSegment(0, 0, 0, len(pcm) * 1000 // RATE, len(pcm), 0.0, pcm=pcm)])
        forward.last.text = found.text
        made[key] = forward.last
    return made


def difference(expected: AllHeard, other: AllHeard) -> dict[str, Any]:
    """How many tokens differ, in all and by margin."""
    edits = EditCounts()
    classes = [[0, 0] for _ in MARGINS]
    for key, one in expected.items():
        blocks = align(one.ids, other[key].ids)
        edits += count(blocks)
        for block in blocks:
            for margin in one.margins[block.first : block.end]:
                found = classes[next(i for i, most in enumerate(MARGINS) if margin < most)]
                found[0] += 1
                found[1] += block.kind != EQUAL
    by_margin = [
        {"margin_below": most, "tokens": tokens, "differ": differ}
        for most, (tokens, differ) in zip((*MARGINS[:-1], None), classes, strict=True)
    ]
    return {
        "tokens": edits.length,
        "differ": edits.edits,
        "percent": percent(edits),
        "inserted": edits.insertions,
        "by_margin": by_margin,
    }


def percent(edits: EditCounts) -> float | None:
    return None if edits.rate is None else round(100 * edits.rate, 2)


def error_rate(said: AllHeard, references: dict[str, str]) -> dict[str, Any]:
    """Character error rate over the recordings that have a reference."""
    rules = Normalisation()
    edits, files = EditCounts(), 0
    for name in dict.fromkeys(name for name, _ in said):
        reference = next((text for end, text in references.items() if name.endswith(end)), None)
        if reference is None:
            continue
        text = "".join(one.text for (of, _), one in said.items() if of == name)
        edits += count(align(rules.characters(reference), rules.characters(text)))
        files += 1
    return {"files": files, "characters": edits.length, "errors": edits.edits, "cer_percent": percent(edits)}


def read_references(path: Path | None) -> dict[str, str]:
    if path is None:
        return {}
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return {"/" + row[0]: row[1] for row in rows if len(row) > 1 and row[1]}


@dataclass(frozen=True)
class Emulated:
    """Products with other factors, computed in fp32."""

    activation_bits: int = 8  #: 0: as they are
    weight_bits: int = 8  #: 0: as they are
    limited: bool = False  #: weights as for a processor without VNNI
    only: str = ""  #: one kind of product, or all of "encoder" or "decoder"; the others stay in fp32
    first: int = 0  #: so many layers of the encoder stay in fp32
    parts: int = 0  #: factors are sums of so many bf16 numbers, whatever the bits; 0: they are not

    def __call__(self, weight: Tensor, bias: Tensor | None, *, relu: bool, positive: bool) -> Product:
        if self.parts:
            weight = in_bf16(weight, self.parts)
        elif self.weight_bits:
            largest = 2 ** (self.weight_bits - 1) - 1
            scales = int8.scales_of(weight, int8.PAIRS[1 if self.limited else 0])[:, None]
            scales = scales * (int8.LARGEST / largest)
            weight = (weight / scales).round() * scales
        steps = 2**self.activation_bits - 1 if positive else 2 ** (self.activation_bits - 1) - 1

        def run(x: Tensor) -> Tensor:
            if self.parts:
                x = in_bf16(x, self.parts)
            elif self.activation_bits:
                scale = x.abs().amax(dim=-1, keepdim=True).clamp_(min=int8.LEAST) / steps
                x = (x / scale).round_().mul_(scale)
            made = torch.nn.functional.linear(x, weight, bias)
            return made.relu_() if relu else made

        return run


def in_bf16(x: Tensor, parts: int) -> Tensor:
    """The nearest sum of bf16 numbers."""
    made = torch.zeros_like(x)
    for _ in range(parts):
        made = made + (x - made).bfloat16().float()
    return made


#: What is emulated, by name in the report.
EMULATED = {
    "weights of 8 bits": Emulated(0, 8),
    "activations of 8 bits": Emulated(8, 0),
    "both": Emulated(),
    "both, weights limited (no VNNI)": Emulated(limited=True),
    "activations of 7 bits, weights of 8": Emulated(7, 8),
    "activations of 8 bits, weights of 7": Emulated(8, 7),
    "weights of 10 bits": Emulated(0, 10),
    "weights of 12 bits": Emulated(0, 12),
    "both of 12 bits": Emulated(12, 12),
    **{
        f"both, limited, only {name}": Emulated(limited=True, only=name)
        for name in (
            *("encoder q k v", "encoder out", "encoder w 1", "encoder w 2"),
            *("decoder q", "decoder k v", "decoder out", "decoder w 1", "decoder w 2", "decoder"),
        )
    },
    **{
        f"both, limited, {n} layers of the encoder in fp32": Emulated(limited=True, first=n)
        for n in (1, 2, 3, 5)
    },
    "bf16": Emulated(parts=1),
    "bf16, only decoder": Emulated(parts=1, only="decoder"),
    **{f"bf16, {n} layers of the encoder in fp32": Emulated(parts=1, first=n) for n in (2, 5, 8)},
    "two halves of bf16": Emulated(parts=2),
}


def emulated(loaded: LoadedModel, pieces: Pieces, how: Emulated) -> AllHeard:
    """Recognise with emulated products in place of those of the product."""
    names = {id(module): name for name, module in loaded.module.named_modules()}
    affine = sanm.affine

    def instead(module: Any, dtype: torch.dtype, **options: Any) -> Product:
        kind, number = described(names.get(id(module), ""))
        chosen = how.only in ("", kind, kind.split()[0]) and number >= how.first
        if options.pop("factors", "fp32") == "int8" and chosen:
            bias = None if module.bias is None else module.bias.detach()
            given = {"relu": False, "positive": False} | options
            return how(module.weight.detach().float(), bias, relu=given["relu"], positive=given["positive"])
        return affine(module, dtype, **options)

    with patch.object(sanm, "affine", instead), patch.object(sanm, "FIRST_IN_FP32", 0):
        return heard(loaded, pieces, "int8")


def described(name: str) -> tuple[str, float]:
    """Kind of a product, such as "encoder q k v", and the number of its layer in the encoder, else infinity."""
    parts = name.split(".")
    kind = f"{parts[0]} {parts[-1].removeprefix('linear_').replace('_', ' ')}"
    if parts[0] != "encoder":
        return kind, math.inf
    return kind, 0 if parts[1] == "encoders0" else int(parts[2]) + 1


def by_funasr_onnx(directory: Path, model: Path, pieces: Pieces) -> dict[str, Any]:
    """What funasr-onnx's own int8 changes."""
    import shutil  # noqa: PLC0415 - only here

    from funasr_onnx import Paraformer  # noqa: PLC0415 - an optional package

    if not directory.exists():
        shutil.copytree(model, directory)
    cpu_peers.export(directory)
    numbers: dict[str, int] = {}
    found: list[AllHeard] = []
    for quantised in (False, True):
        made = Paraformer(str(directory), batch_size=1, quantize=quantised, intra_op_num_threads=1)
        said: AllHeard = {}
        for key, pcm in pieces.items():
            features, lengths = made.extract_feat([pcm.astype(np.float32) / 32768])
            # Not its __call__, which fails on some pieces while it makes times.
            scores, valid = made.infer(features, lengths)[:2]
            tokens = made.decode(scores, valid)[0]
            said[key] = Heard([numbers.setdefault(token, len(numbers)) for token in tokens], "".join(tokens))
        found.append(said)
    made_of = difference(*found)
    return {key: made_of[key] for key in ("tokens", "differ", "percent")}


def variants(loaded: LoadedModel, pieces: Pieces) -> Iterator[tuple[str, AllHeard]]:
    for name, how in EMULATED.items():
        yield name, emulated(loaded, pieces, how)


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument(
        "recordings", type=Path, nargs="*", help="files or folders; default: the bundled sample"
    )
    parser.add_argument("--references", type=Path, metavar="TSV")
    parser.add_argument("--model", type=Path, default=store.BUNDLED / "paraformer-mini")
    parser.add_argument("--emulate", action="store_true")
    parser.add_argument("--onnx", type=Path, metavar="DIR", help="where the exported model is or will be")
    options = parser.parse_args()
    pieces = pieces_of(options.recordings or [store.SAMPLE])
    loaded = load(options.model, choose_device("cpu"), torch.get_num_threads())
    references = read_references(options.references)
    expected = heard(loaded, pieces, "fp32")
    found: dict[str, AllHeard] = {"int8": heard(loaded, pieces, "int8")}
    if bf16.has_products():
        found["bf16"] = heard(loaded, pieces, "bf16")
    figures: dict[str, Any] = {
        "processor": cpu_peers.processor(),
        "products": int8.products(),
        "audio_s": round(sum(map(len, pieces.values())) / RATE, 1),
        "pieces": len(pieces),
        **{name: difference(expected, said) for name, said in found.items()},
    }
    if references:
        figures["error_rate"] = {
            name: error_rate(said, references) for name, said in {"fp32": expected, **found}.items()
        }
    if options.onnx:
        figures["funasr_onnx"] = by_funasr_onnx(options.onnx, options.model, pieces)
    if options.emulate:
        figures["emulated"] = {}
        for name, said in variants(loaded, pieces):
            one = difference(expected, said)
            figures["emulated"][name] = {key: one[key] for key in ("differ", "percent")}
    options.recordings = [path.name for path in options.recordings]
    for name in ("references", "model", "onnx"):
        path = getattr(options, name)
        setattr(options, name, path and path.name)
    surroundings.report("cpu_tokens", options, figures)


if __name__ == "__main__":
    main()
