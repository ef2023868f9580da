"""Vocabularies of Paraformer models: tokens to words, and hotwords to tokens.

FunASR's models have a list of characters and subwords (`hel@@ lo`) or a SentencePiece model (`▁hel lo`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Protocol

import numpy as np

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.loading import LoadedModel
from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.decoded import DecodedTokens
from dropscribe.engine.models.text.hotwords import PieceSpelling, Spelling, read_dictionary
from dropscribe.engine.models.text.hypotheses import columns_of, hypothesis, least_of, of_joined
from dropscribe.engine.models.text.joining import join_tokens, letters_of
from dropscribe.engine.models.text.pieces import SPACE, Pieces
from dropscribe.engine.models.text.spacing import Columns
from dropscribe.errors import EngineError
from dropscribe.transcript.types import TIME_BYTES, Tokens, packed_tokens, texts_of

#: Special tokens of a list, which are not part of the text.
_MARKS = frozenset({"<s>", "</s>", "<unk>", "<OOV>", "<blank>", "<sos/eos>"})


class Vocabulary(Protocol):
    """The tokens of a model."""

    def hypotheses(self, segments: Sequence[SpeechSegment], decoded: DecodedTokens) -> list[Hypothesis]:
        """Hypotheses of a batch, in the order of its segments. Words without times are spread evenly."""

    @property
    def spelling(self) -> Spelling | PieceSpelling:
        """Conversion of hotwords to these tokens."""


class Characters:
    """A list of characters and subwords, as of FunASR's `CharTokenizer`."""

    def __init__(self, tokens: Sequence[str], spelling: Spelling) -> None:
        """tokens: by number."""
        self._tokens = tokens
        self.spelling = spelling
        #: For joining, code points.
        self._letters = np.array([ord(letter) for letter in letters_of(tokens)], np.uint8)
        #: Code point of each token that is a single CJK character, 0 for others.
        self._code_points = np.array(
            [ord(t) if len(t) == 1 and spacing.all_cjk(t) else 0 for t in tokens], "<u4"
        )

    def hypotheses(self, segments: Sequence[SpeechSegment], decoded: DecodedTokens) -> list[Hypothesis]:
        """See `Vocabulary`. The text of segments that consist of single CJK characters is made at once."""
        times, bounds, confidence = decoded.times, decoded.bounds, decoded.confidence
        packed = None if times is None else times.packed()
        if times is None or packed is None:
            return [self._hypothesis(segment, decoded, i) for i, segment in enumerate(segments)]
        starts, ends = packed
        code_points = self._code_points[decoded.ids]
        others = (code_points == 0).nonzero()[0]
        mixed = {*(np.searchsorted(bounds, others, "right") - 1).tolist()}
        text = code_points.tobytes().decode("utf-32-le")
        letters = self._letters[decoded.ids].tobytes().decode("ascii") if mixed else ""
        made = []
        for i, (segment, (a, b)) in enumerate(zip(segments, pairwise(bounds), strict=True)):
            if i in times.unplaced:
                made.append(self._hypothesis(segment, decoded, i))
                continue
            said = text[a:b]
            texts: str | tuple[str, ...] = said
            if i in mixed:
                joined = join_tokens(self._texts(decoded, a, b), letters[a:b])
                if len(joined.words) < b - a:
                    made.append(of_joined(segment, joined, times.columns(a, b), confidence[a:b]))
                    continue
                # Each token is a word.
                said, texts = joined.text, texts_of(joined.words)
            spoken = packed_tokens(
                texts,
                starts[a * TIME_BYTES : b * TIME_BYTES],
                ends[a * TIME_BYTES : b * TIME_BYTES],
                confidence[a:b],
            )
            made.append(Hypothesis(segment.stream, segment.index, said, spoken))
        return made

    def _hypothesis(self, segment: SpeechSegment, decoded: DecodedTokens, i: int) -> Hypothesis:
        """Hypothesis of segment number `i` of any kind."""
        first, until = decoded.bounds[i : i + 2]
        times = decoded.times
        columns = None if times is None or i in times.unplaced else times.columns(first, until)
        return hypothesis(
            segment, self._texts(decoded, first, until), columns, decoded.confidence[first:until]
        )

    def _texts(self, decoded: DecodedTokens, first: int, until: int) -> list[str]:
        return [self._tokens[number] for number in decoded.ids[first:until].tolist()]


class SentencePieces:
    """A SentencePiece model, or a list of its tokens (`▁` at the start of a word)."""

    def __init__(self, pieces: Pieces, spelling: Spelling | PieceSpelling) -> None:
        self._pieces = pieces
        self.spelling = spelling

    def hypotheses(self, segments: Sequence[SpeechSegment], decoded: DecodedTokens) -> list[Hypothesis]:
        """See `Vocabulary`. A word lasts from the start of its first piece to the end of its last."""
        times = decoded.times
        return [
            self._hypothesis(
                segment,
                decoded.ids[a:b].tolist(),
                None if times is None or i in times.unplaced else times.columns(a, b),
                decoded.confidence[a:b],
            )
            for i, (segment, (a, b)) in enumerate(zip(segments, pairwise(decoded.bounds), strict=True))
        ]

    def _hypothesis(
        self, segment: SpeechSegment, ids: Sequence[int], columns: Columns | None, confidence: bytes
    ) -> Hypothesis:
        # With the number of each piece as its span, the span of a word is its first and last piece.
        said = self._pieces.words(ids, [(i, i) for i in range(len(ids))])
        firsts, lasts = [a for a, _ in said.spans], [b for _, b in said.spans]
        confidence = least_of(confidence, firsts, lasts)
        if columns is None:
            marks = spacing.spread(said.words, segment.start_ms, segment.end_ms, confidence)
        else:
            marks = Tokens(said.words, *columns_of(columns, firsts, lasts), confidence)
        return Hypothesis(segment.stream, segment.index, said.text, marks)


def silent_ids(loaded: LoadedModel) -> set[int]:
    """Numbers of the tokens that are not part of the text."""
    tokenizer = loaded.tokenizer
    processor = getattr(tokenizer, "sp", None)
    if processor is not None:
        return {i for i in range(len(processor)) if processor.is_control(i) or processor.is_unknown(i)}
    return {i for i, token in enumerate(getattr(tokenizer, "token_list", ())) if token in _MARKS}


def vocabulary_of(loaded: LoadedModel) -> Vocabulary:
    """Vocabulary of a loaded model. Raises EngineError if it has none."""
    tokenizer = loaded.tokenizer
    processor = getattr(tokenizer, "sp", None)
    if processor is not None:
        return SentencePieces(Pieces.of(processor), PieceSpelling(processor))
    tokens: list[str] | None = getattr(tokenizer, "token_list", None)
    if tokens is None:
        raise EngineError(
            "it has no vocabulary",
            operation="load model",
            path=loaded.directory,
            remedy="check that the directory is complete (tokens.json), or fetch the model again",
        )
    dictionary = read_dictionary(loaded.config.dictionary)
    spelling = Spelling(tokenizer.token2id, tokenizer.unk_id, dictionary)
    if any(token.startswith(SPACE) for token in tokens):
        silent = [token in _MARKS for token in tokens]
        return SentencePieces(Pieces(tokens, silent), spelling)
    return Characters(tokens, spelling)
