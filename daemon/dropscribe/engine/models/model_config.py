"""Read the configuration of a FunASR model directory without trusting it to choose code or files outside itself.

FunASR merges `configuration.json` and `config.yaml` into the arguments of its `AutoModel`. A directory could thereby
name code to import, packages to install, further models to download, directories to write to, and files anywhere. Here
the two are merged by the same rules (`funasr.download.download_model_from_hub`, `download_from_ms`), but only options
that describe the model are kept, and every file must be inside the directory. FunASR gets the result and never reads
the directory's configuration itself.

Symbolic links in the directory are followed, because hub caches use them. Does not import torch.
"""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dropscribe.errors import EngineError

CONFIG = "config.yaml"
FILE_LIST = "configuration.json"
WEIGHTS = "model.pt"
#: Largest configuration file, bytes; the largest official config.yaml (which includes its vocabulary) has 57 kB.
LONGEST_CONFIG = 8 << 20
#: Most values in a config.yaml, with aliases expanded; the largest official one has some 9,000.
MOST_VALUES = 200_000

#: Options of FunASR's `build_model` that name the parts of a model; the options of each part are in `NAME_conf`.
COMPONENTS = frozenset({
    "bias_predictor", "ctc", "ctc2", "decoder", "decoder2", "encoder", "encoder2", "frontend", "fusion_encoder",
    "joint_network", "model", "normalize", "predictor", "predictor2", "seaco_decoder", "specaug", "stride_conv",
    "text_encoder", "tokenizer",
})  # fmt: skip
_OPTIONS = frozenset({
    "ban_emo_unk", "beam_size", "blank_id", "chunk_size", "ctc_weight", "decoder_attention_chunk_type",
    "decoder_attention_chunk_type2", "decoder_chunk_look_back", "decoding_ctc_weight", "decoding_ind", "decoding_mode",
    "decoding_model", "encoder1_encoder2_joint_training", "encoder_chunk_look_back", "eos", "ignore_id", "inner_dim",
    "input_size", "jieba_usr_dict", "language", "length_normalized_loss", "loss_weight_model1", "lsm_weight", "maxlenratio", "minlenratio",
    "nbest", "penalty", "predictor_bias", "predictor_weight", "sampling_ratio", "share_embedding", "sos", "text_norm",
    "token_num_relax", "use_1st_decoder_loss", "use_itn",
})  # fmt: skip
_KEPT = COMPONENTS | {f"{name}_conf" for name in COMPONENTS} | _OPTIONS

#: Options that name a required file.
_NEEDED_FILES = frozenset({"bpemodel", "cmvn_file", "config", "init_param", "jieba_usr_dict", "token_list"})
#: Options that name a file, required or optional.
_FILES = _NEEDED_FILES | {"non_linguistic_symbols", "seg_dict", "seg_dict_file", "stats_file"}
#: Files used in a directory without a list of files: part, option, file name.
_USUAL_FILES = (
    ("tokenizer_conf", "token_list", "tokens.txt"),
    ("tokenizer_conf", "token_list", "tokens.json"),
    ("tokenizer_conf", "seg_dict", "seg_dict"),
    ("tokenizer_conf", "bpemodel", "bpe.model"),
    ("frontend_conf", "cmvn_file", "am.mvn"),
)
#: Supported components: those that neither download further models nor need packages that are not installed.
_FRONTENDS = frozenset({"WavFrontend", "WavFrontendOnline", "wav_frontend"})
_TOKENIZERS = frozenset({"CharTokenizer", "SentencepiecesTokenizer"})

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")
_CODE_KEYS = ("trust_remote_code", "remote_code")
_FETCH_AGAIN = "check that the directory is complete, or fetch the model again"
_NOT_TRUSTED = "use a model of FunASR's own classes; code that comes with a model is never run"


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Validated configuration of a model directory."""

    directory: Path
    family: str  #: the class name in FunASR's registry
    weights: Path
    #: Arguments of FunASR's `AutoModel` and `build_model`. They include `model_conf`: without it FunASR reads the
    #: directory.
    options: dict[str, Any]

    @property
    def dictionary(self) -> Path | None:
        """Dictionary of words and their tokens: as in FunASR, `seg_dict` if it exists, else the configured file."""
        usual = self.directory / "seg_dict"
        return usual if usual.is_file() else self.file("tokenizer_conf", "seg_dict", "seg_dict_file")

    def file(self, part: str, *names: str) -> Path | None:
        """File named by the first of the options `names` of `part`, e.g. `tokenizer_conf`, `token_list`; else None."""
        options = self.options.get(part)
        for name in names:
            value = options.get(name) if isinstance(options, dict) else None
            if isinstance(value, str):
                return Path(value)
        return None


def read_model_config(directory: Path, operation: str = "load model") -> ModelConfig:
    """Read and validate the configuration of a model directory.

    Raises EngineError if files are missing, if a file outside the directory is named, or if code is to be run.
    """
    return _Reader(directory, operation).read()


class _Reader:
    """State while one directory is read."""

    def __init__(self, directory: Path, operation: str) -> None:
        self._directory = directory
        self._operation = operation
        self._missing: list[str] = []

    def read(self) -> ModelConfig:
        listed = self._listed()
        named = {key: value for key, value in self._named(listed).items() if key in _KEPT | _FILES}
        path = Path(str(named.pop("config", self._directory / CONFIG)))
        if not path.is_file():
            self._missing.append(path.relative_to(self._directory).as_posix())
        self._refuse_incomplete()
        config = self._yaml(path)
        self._refuse_code(config, path.name)
        options = _merged({key: value for key, value in config.items() if key in _KEPT}, named)
        if not listed:
            self._add_usual(options)
        options = self._resolved(options, config)
        self._settle_files(options)
        weights = Path(str(options.pop("init_param", self._directory / WEIGHTS)))
        if not weights.is_file() and WEIGHTS not in self._missing:
            self._missing.append(weights.relative_to(self._directory).as_posix())
        self._refuse_incomplete()
        return self._checked(options, weights)

    def _error(self, reason: str, remedy: str = _FETCH_AGAIN) -> EngineError:
        return EngineError(reason, operation=self._operation, path=self._directory, remedy=remedy)

    def _refuse_incomplete(self) -> None:
        if self._missing:
            missing = ", ".join(dict.fromkeys(self._missing))
            raise self._error(
                f"it lacks {missing}",
                "give a complete FunASR model directory (config.yaml, model.pt, am.mvn, tokens.json)",
            )

    def _text(self, path: Path) -> str:
        try:
            if path.stat().st_size > LONGEST_CONFIG:
                raise self._error(f"{path.name} is larger than {LONGEST_CONFIG >> 20} MiB")
            return path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as e:
            raise self._error(f"{path.name} cannot be read: {_in_short(e)}") from e

    def _listed(self) -> dict[str, Any]:
        """The list of files in `configuration.json`; empty if there is none."""
        path = self._directory / FILE_LIST
        if not path.is_file():
            return {}
        try:
            content = json.loads(self._text(path))
            self._refuse_code(content, FILE_LIST)
        except (ValueError, RecursionError) as e:
            raise self._error(f"{FILE_LIST} is not JSON: {_in_short(e)}", "fetch the model again") from e
        listed = content.get("file_path_metas") if isinstance(content, dict) else None
        return listed if isinstance(listed, dict) else {}

    def _yaml(self, path: Path) -> dict[str, Any]:
        # OmegaConf is FunASR's own YAML reader and creates plain values only. Imported late, as few commands need it.
        import yaml  # noqa: PLC0415
        from omegaconf import OmegaConf  # noqa: PLC0415

        text = self._text(path)
        try:
            content: Any = None
            if _expanded(yaml.compose(text, Loader=yaml.SafeLoader)) <= MOST_VALUES:
                content = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
        except Exception as e:
            raise self._error(f"its configuration cannot be read: {path.name}: {_in_short(e)}") from e
        if not isinstance(content, dict):
            raise self._error(f"its configuration cannot be read: {path.name} holds no options, or too many")
        return content

    def _refuse_code(self, value: Any, place: str) -> None:
        """Raise EngineError if a configuration requests, at any depth, that its own code be run."""
        for key, inner in value.items() if isinstance(value, dict) else ():
            if key in _CODE_KEYS and inner not in (False, None, "", 0):
                raise self._error(f"{place} asks for code of its own to be run ({key})", _NOT_TRUSTED)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            if isinstance(inner, (dict, list)):
                self._refuse_code(inner, place)

    def _named(self, listed: dict[str, Any]) -> dict[str, Any]:
        """Options of a list of files, with paths. Missing files are left out, and noted as missing if required."""
        named: dict[str, Any] = {}
        for key, value in listed.items():
            if isinstance(value, str):
                path = self._inside(value, f"{FILE_LIST}: {key}")
                if path is not None and path.exists():
                    named[key] = str(path)
                elif path is not None and key in _NEEDED_FILES:
                    self._missing.append(value)
            elif isinstance(value, dict):
                named[key] = self._named(value)
            elif isinstance(value, list):
                inner = [self._named({key: item}).get(key) for item in value]
                named[key] = [item for item in inner if item is not None]
        return named

    def _inside(self, name: str, place: str) -> Path | None:
        """Path of a file in the directory; None for an empty name. Raises EngineError for a path outside it."""
        if not name:
            return None
        path = Path(os.path.normpath(self._directory / name))
        if (
            name.startswith("~")
            or "\0" in name
            or "://" in name
            or path == self._directory
            or not path.is_relative_to(self._directory)
        ):
            raise self._error(
                f"{place} names a file outside the directory: {name}",
                "copy the file into the directory, and name it there",
            )
        return path

    def _add_usual(self, options: dict[str, Any]) -> None:
        for part, option, name in _USUAL_FILES:
            if (self._directory / name).is_file() and options.get(part.removesuffix("_conf")):
                inner = options.get(part)
                options[part] = (inner if isinstance(inner, dict) else {}) | {
                    option: str(self._directory / name)
                }

    def _resolved(self, value: Any, config: dict[str, Any]) -> Any:
        """Replace references to other values, like `${model_conf.sos}`. Raises EngineError for other expressions."""
        if isinstance(value, dict):
            return {key: self._resolved(inner, config) for key, inner in value.items()}
        if isinstance(value, list):
            return [self._resolved(inner, config) for inner in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        found: Any = None
        if reference := _REFERENCE.fullmatch(value):
            found = config
            for name in reference[1].split("."):
                found = found.get(name) if isinstance(found, dict) else None
        if isinstance(found, (dict, list)) or found is None or (isinstance(found, str) and "${" in found):
            raise self._error(f"{CONFIG} has an expression that is not supported: {value}")
        return found

    def _settle_files(self, options: dict[str, Any]) -> None:
        """Replace file names by paths in the directory; a token list may also be given inline instead of its file."""
        for key, value in options.items():
            if isinstance(value, dict):
                self._settle_files(value)
            elif not isinstance(value, str):
                continue
            elif key in _FILES:
                path = self._inside(value, f"{CONFIG}: {key}")
                if path is not None and not path.is_file() and key in _NEEDED_FILES:
                    self._missing.append(path.relative_to(self._directory).as_posix())
                options[key] = str(path) if path is not None and path.is_file() else None
            elif "://" in value or value.startswith(("/", "~")) or ".." in Path(value).parts:
                self._inside(value, f"{CONFIG}: {key}")

    def _checked(self, options: dict[str, Any], weights: Path) -> ModelConfig:
        family = options.get("model")
        if not isinstance(family, str) or not family:
            raise self._error(
                "its config.yaml names no model", "give a FunASR model directory (config.yaml, model.pt)"
            )
        options.setdefault("model_conf", {})
        for key, known in (("frontend", _FRONTENDS), ("tokenizer", _TOKENIZERS)):
            if options.get(key) is not None and str(options[key]) not in known:
                raise self._error(
                    f"its {key} is {options[key]}, which is not supported",
                    f"use a model whose {key} is one of {', '.join(sorted(known))}",
                )
        options["model_path"] = str(self._directory)
        # Without effect on the options above; passed in case FunASR evaluates it elsewhere.
        options["trust_remote_code"] = False
        return ModelConfig(self._directory, family, weights, options)


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Merge two configurations recursively; values of `above` take precedence."""
    merged = dict(below)
    for key, value in above.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _expanded(root: Any) -> int:
    """Number of values in a YAML document with its aliases expanded. Raises ValueError for a cyclic document."""
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        if node is None or isinstance(node.value, str):
            return 1
        known = sizes.get(id(node))
        if known == 0:
            raise ValueError("a value holds itself")
        if known is None:
            sizes[id(node)] = 0
            inner = [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]
            known = sizes[id(node)] = 1 + sum(size(part) for part in inner)
        return known

    return size(root)


def _in_short(error: Exception) -> str:
    lines = " ".join(str(error).split())
    return lines[:300] or type(error).__name__
