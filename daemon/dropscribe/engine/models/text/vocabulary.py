"""Vocabularies of Paraformer models: tokens to words, and hotwords to tokens.

FunASR's models have a list of characters and subwords (`hel@@ lo`) or a SentencePiece model (`▁hel lo`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dropscribe.engine.core.interfaces import Hypothesis, SpeechSegment
from dropscribe.engine.models.loading import LoadedModel
from dropscribe.engine.models.text import spacing
from dropscribe.engine.models.text.hotwords import PieceSpelling, Spelling, read_dictionary
from dropscribe.engine.models.text.hypotheses import columns_of, hypothesis, least_of
from dropscribe.engine.models.text.pieces import SPACE, Pieces
from dropscribe.engine.models.text.spacing import Columns
from dropscribe.errors import EngineError
from dropscribe.transcript.types import Tokens

#: Special tokens of a list, which are not part of the text.
_MARKS = frozenset({"<s>", "</s>", "<unk>", "<OOV>", "<blank>", "<sos/eos>"})


class Vocabulary(Protocol):
    """The tokens of a model."""

    def hypothesis(
        self, segment: SpeechSegment, ids: Sequence[int], columns: Columns | None, confidence: bytes
    ) -> Hypothesis:
        """Hypothesis of a segment from its token numbers.

        columns: starts and ends of the tokens, ms in the recording; None: spread the words evenly. confidence: of each
        token, as in `Tokens`.
        """

    @property
    def spelling(self) -> Spelling | PieceSpelling:
        """Conversion of hotwords to these tokens."""


class Characters:
    """A list of characters and subwords: FunASR's `CharTokenizer`."""

    def __init__(self, tokenizer: Any, spelling: Spelling) -> None:
        self._tokenizer = tokenizer
        self.spelling = spelling

    def hypothesis(
        self, segment: SpeechSegment, ids: Sequence[int], columns: Columns | None, confidence: bytes
    ) -> Hypothesis:
        """See `Vocabulary`."""
        return hypothesis(segment, self._tokenizer.ids2tokens(ids), columns, confidence)


class SentencePieces:
    """A SentencePiece model, or a list of its tokens (`▁` at the start of a word)."""

    def __init__(self, pieces: Pieces, spelling: Spelling | PieceSpelling) -> None:
        self._pieces = pieces
        self.spelling = spelling

    def hypothesis(
        self, segment: SpeechSegment, ids: Sequence[int], columns: Columns | None, confidence: bytes
    ) -> Hypothesis:
        """See `Vocabulary`. A word lasts from the start of its first piece to the end of its last."""
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
    return Characters(tokenizer, spelling)
