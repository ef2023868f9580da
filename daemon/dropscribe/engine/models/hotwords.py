"""How a hotword is spelt in a model's tokens. Pure, but for reading what the model's directory says of words; no torch here.

The rules are those of FunASR's `SeacoParaformer.generate_hotwords_list`, of a line in its file of hotwords.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropscribe.engine.models.model_config import ModelConfig

#: The model class that takes hotwords.
_TAKES_HOTWORDS = "SeacoParaformer"
UNKNOWN = "<unk>"
#: Only such a word is spelt character by character when the dictionary lacks it. The digits are FunASR's, which meant 0-9.
_BY_CHARACTER = re.compile("[一-龥0-9]+")
#: What is said of hotwords before a model that has no use for them.
NO_HOTWORDS = "the model takes no hotwords (a SeACo-Paraformer does); it goes on without them"
#: So many of the hotwords that cannot be spelt are named in a message.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Spelling:
    """What a model knows of words."""

    numbers: Mapping[str, int]  #: of its tokens
    unknown: int  #: number of the token that stands for all it does not know
    #: Word → tokens; None for a model that comes without: there each word has to be a token.
    dictionary: Mapping[str, tuple[str, ...]] | None

    def numbers_of(self, hotword: str) -> list[int]:
        """Token numbers of a hotword, at least one; what cannot be spelt is `unknown`."""
        tokens = hotword.split()
        if self.dictionary is not None:
            tokens = [token for word in tokens for token in self._spelt(word.lower(), self.dictionary)]
        return [self.numbers.get(token, self.unknown) for token in tokens]

    def complaint(self, hotwords: Sequence[str]) -> str:
        """Which hotwords the model cannot listen for as they are written, for people; empty when there are none."""
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
    """What a model with a sentence piece vocabulary knows of words: it cuts them into pieces itself."""

    def __init__(self, processor: Any) -> None:
        """`processor`: a SentencePieceProcessor."""
        self._processor = processor
        self.unknown = int(processor.unk_id())

    def numbers_of(self, hotword: str) -> list[int]:
        """Token numbers of a hotword, at least one; what cannot be spelt is `unknown`."""
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
    """The dictionary of a model: a word and the tokens it is made of, on each line; None where there is none."""
    if path is None:
        return None
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {word: tuple(tokens) for word, *tokens in filter(None, lines)}


def look(config: ModelConfig, hotwords: Sequence[str]) -> str:
    """What a model will complain of, by its directory alone: as `dropscribe.engine.core.interfaces.Listener.complaint`."""
    if config.family != _TAKES_HOTWORDS:
        return NO_HOTWORDS
    vocabulary = config.file("tokenizer_conf", "token_list")
    if vocabulary is None or vocabulary.suffix != ".json":
        return ""  # it keeps its tokens elsewhere; the engine will tell
    tokens: list[str] = json.loads(vocabulary.read_text(encoding="utf-8"))
    numbers = {token: number for number, token in enumerate(tokens)}
    dictionary = read_dictionary(config.dictionary)
    return Spelling(numbers, numbers[UNKNOWN], dictionary).complaint(hotwords)
