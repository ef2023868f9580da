"""Convert hotwords to a model's tokens. Pure, except for reading files of the model's directory; no torch.

The rules are those of FunASR's `SeacoParaformer.generate_hotwords_list` for a line of its hotword file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropscribe.engine.core.interfaces import NO_HOTWORDS
from dropscribe.engine.models.model_config import ModelConfig

#: The model class that supports hotwords.
_SUPPORTS_HOTWORDS = "SeacoParaformer"
UNKNOWN = "<unk>"
#: Words that are split into characters if they are not in the dictionary. The pattern is FunASR's.
_BY_CHARACTER = re.compile("[一-龥0-9]+")
#: Most hotwords named in a message.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Spelling:
    """Tokens and dictionary of a model."""

    numbers: Mapping[str, int]  #: token → its number
    unknown: int  #: number of the token for unknown words
    #: Word → tokens; None for a model without a dictionary, where each word has to be a token.
    dictionary: Mapping[str, tuple[str, ...]] | None

    def numbers_of(self, hotword: str) -> list[int]:
        """Token numbers of a hotword, at least one; `unknown` for parts that are not in the vocabulary."""
        tokens = hotword.split()
        if self.dictionary is not None:
            tokens = [token for word in tokens for token in self._spelt(word.lower(), self.dictionary)]
        return [self.numbers.get(token, self.unknown) for token in tokens]

    def complaint(self, hotwords: Sequence[str]) -> str:
        """Message that names the hotwords not in the model's vocabulary; empty if there are none."""
        return _complaint(hotwords, [word for word in hotwords if self.unknown in self.numbers_of(word)])

    @staticmethod
    def _spelt(word: str, dictionary: Mapping[str, tuple[str, ...]]) -> Sequence[str]:
        known = dictionary.get(word)
        if known is not None:
            return known
        if _BY_CHARACTER.fullmatch(word) is None:
            return (UNKNOWN,)
        return [token for character in word for token in dictionary.get(character, (UNKNOWN,))]


class PieceSpelling:
    """Tokens of a model with a SentencePiece vocabulary, which segments words itself."""

    def __init__(self, processor: Any) -> None:
        """`processor`: a SentencePieceProcessor."""
        self._processor = processor
        self.unknown = int(processor.unk_id())

    def numbers_of(self, hotword: str) -> list[int]:
        """Token numbers of a hotword, at least one; `unknown` for parts that are not in the vocabulary."""
        return list(self._processor.EncodeAsIds(hotword)) or [self.unknown]

    def complaint(self, hotwords: Sequence[str]) -> str:
        """See `Spelling.complaint`."""
        return _complaint(hotwords, [word for word in hotwords if self.unknown in self.numbers_of(word)])


def _complaint(hotwords: Sequence[str], strange: Sequence[str]) -> str:
    if not strange:
        return ""
    named = ", ".join(strange[:_NAMED]) + (", …" if len(strange) > _NAMED else "")
    return (
        f"{len(strange)} of {len(hotwords)} hotwords are not in the model's vocabulary, wholly or in part, and "
        f"help little: {named}"
    )


def read_dictionary(path: Path | None) -> dict[str, tuple[str, ...]] | None:
    """Read a model's dictionary: on each line a word and its tokens; None if there is no file."""
    if path is None:
        return None
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {word: tuple(tokens) for word, *tokens in filter(None, lines)}


def complaint_of(config: ModelConfig, hotwords: Sequence[str]) -> str:
    """Check hotwords by the model's directory alone; see `dropscribe.engine.core.interfaces.Listener.complaint`."""
    if config.family != _SUPPORTS_HOTWORDS:
        return NO_HOTWORDS
    vocabulary = config.file("tokenizer_conf", "token_list")
    if vocabulary is None or vocabulary.suffix != ".json":
        return ""  # the tokens are in another form; the engine will check
    tokens: list[str] = json.loads(vocabulary.read_text(encoding="utf-8"))
    numbers = {token: number for number, token in enumerate(tokens)}
    dictionary = read_dictionary(config.dictionary)
    return Spelling(numbers, numbers[UNKNOWN], dictionary).complaint(hotwords)
