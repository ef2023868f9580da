"""Configuration of a CT-Transformer model directory: its vocabulary, its marks and the sizes of its network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropscribe.engine.models.model_config import ModelConfig
from dropscribe.errors import EngineError
from dropscribe.transcript.written import marks

#: Largest vocabulary file, bytes; that of 471,067 words has some 8 MB.
LARGEST_VOCABULARY = 64 << 20
#: Largest value of each size of a network. Official ones are at most 516 wide, with 12 heads and blocks.
_LARGEST = {
    "output_size": 4096,
    "attention_heads": 64,
    "linear_units": 16_384,
    "num_blocks": 64,
    "kernel_size": 101,
}
#: Options of the encoder that are supported with one value only: others have layers of other kinds.
_ONLY = {
    "input_layer": "pe",
    "selfattention_layer_type": "sanm",
    "normalize_before": True,
    "concat_after": False,
    "positionwise_layer_type": "linear",
    "interctc_layer_idx": [],
}
_USUAL = {"positionwise_layer_type": "linear", "concat_after": False, "interctc_layer_idx": []}
#: Marks by their names in FunASR's configurations.
_CODES = {
    "，": marks.COMMA,
    ",": marks.COMMA,
    "。": marks.FULL_STOP,
    ".": marks.FULL_STOP,
    "？": marks.QUESTION,
    "?": marks.QUESTION,
    "、": marks.PAUSE,
}
_UNKNOWN = "<unk>"


@dataclass(frozen=True, slots=True)
class PunctuationConfig:
    """Checked configuration of a punctuation model."""

    vocabulary: Mapping[str, int]
    unknown: int  #: number of the words that are not in the vocabulary
    codes: bytes  #: code of `dropscribe.transcript.written.marks` for each output of the network
    encoder: Mapping[str, Any]  #: arguments of FunASR's `SANMEncoder`
    width: int
    dictionary: Path | None  #: jieba's user dictionary; None: characters are words


def read_config(config: ModelConfig) -> PunctuationConfig:
    """Read the configuration of a CT-Transformer. Raises EngineError if it is damaged or not supported."""
    options = config.options
    model, encoder = _part(config, "model_conf"), _part(config, "encoder_conf")
    vocabulary = _vocabulary(config)
    symbol = str(_part(config, "tokenizer_conf").get("unk_symbol", _UNKNOWN))
    if symbol not in vocabulary:
        raise _error(config, f"its vocabulary has no {symbol}")
    if options.get("encoder") != "SANMEncoder":
        raise _error(config, f"its encoder is {options.get('encoder')}, and not SANMEncoder")
    encoder = _encoder(config, encoder)
    width = int(encoder["output_size"])
    if any(model.get(name) != width for name in ("embed_unit", "att_unit")):
        raise _error(config, "its embedding and its network differ in width")
    dictionary = options.get("jieba_usr_dict")
    return PunctuationConfig(
        vocabulary,
        vocabulary[symbol],
        _codes(config, model),
        encoder,
        width,
        None if dictionary is None else Path(str(dictionary)),
    )


def _part(config: ModelConfig, name: str) -> dict[str, Any]:
    part = config.options.get(name)
    return part if isinstance(part, dict) else {}


def _vocabulary(config: ModelConfig) -> dict[str, int]:
    listed = _part(config, "tokenizer_conf").get("token_list")
    if isinstance(listed, str):
        listed = _read_list(config, Path(listed))
    if not isinstance(listed, list) or not all(isinstance(word, str) for word in listed):
        raise _error(config, "its vocabulary is not a list of words")
    vocabulary = {word: number for number, word in enumerate(listed)}
    if len(vocabulary) != len(listed):
        raise _error(config, "its vocabulary has a word twice")
    return vocabulary


def _read_list(config: ModelConfig, path: Path) -> Any:
    try:
        if path.stat().st_size > LARGEST_VOCABULARY:
            raise _error(config, f"{path.name} is larger than {LARGEST_VOCABULARY >> 20} MiB")
        text = path.read_text(encoding="utf-8")
        return [line.rstrip() for line in text.splitlines()] if path.suffix == ".txt" else json.loads(text)
    except OSError as e:
        raise _error(config, f"{path.name} cannot be read: {e.strerror}") from e
    except (ValueError, RecursionError) as e:
        raise _error(config, f"{path.name} is not a list of words in JSON") from e


def _codes(config: ModelConfig, model: Mapping[str, Any]) -> bytes:
    listed = model.get("punc_list")
    if not isinstance(listed, list) or not 2 <= len(listed) <= 255:
        raise _error(config, "its config.yaml has no list of marks (punc_list)")
    codes = bytes(_CODES.get(str(mark), marks.NONE) for mark in listed)
    end = model.get("sentence_end_id", 3)
    if not isinstance(end, int) or not 0 <= end < len(codes) or codes[end] != marks.FULL_STOP:
        raise _error(config, "its sentence_end_id is not that of a full stop")
    return codes


def _encoder(config: ModelConfig, encoder: Mapping[str, Any]) -> dict[str, Any]:
    found = {**_USUAL, **encoder}
    for name, most in _LARGEST.items():
        size = found.get(name)
        if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
            raise _error(config, f"its encoder's {name} is {size}: from 1 to {most} is supported")
    for name, only in _ONLY.items():
        if found.get(name) != only:
            raise _error(config, f"its encoder's {name} is {found.get(name)}: only {only} is supported")
    if found.get("input_size") != found["output_size"] or found["output_size"] % found["attention_heads"]:
        raise _error(config, "the sizes of its encoder do not fit together")
    return found


def _error(config: ModelConfig, reason: str) -> EngineError:
    return EngineError(
        reason,
        operation="load punctuation model",
        path=config.directory,
        remedy="fetch the model again, or name one of ct-punc, ct-punc-c, ct-punc-mini",
    )
