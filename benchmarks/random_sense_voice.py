"""Write a FunASR model directory of the official SenseVoiceSmall architecture with random weights.

    .venv/bin/python benchmarks/random_sense_voice.py DIR [--seed 0] [--tokens-per-s 4.5] [--small]

Size and cost are those of the official model (50 + 20 encoder layers of 512/2048, 25,055 tokens, 234 M parameters);
its output is nonsense: Chinese characters and Latin words after the four tags. The score of blank is set for the
token rate of speech. With --small the layers are few and narrow and there are 2,000 tokens, for trying a script.
Filter bank and CMVN are those of the bundled model. `benchmarks/engine.py --model DIR` measures it.
"""

from __future__ import annotations

import argparse
import io
import itertools
import json
import random
import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece
import torch
import yaml

from dropscribe.engine.models.store import BUNDLED, SAMPLE

TEMPLATE = BUNDLED / "paraformer-mini"
#: Tokens of the official model, and of a small one.
VOCABULARY = 25_055
SMALL_VOCABULARY = 2_000
#: Tags of language, emotion, sound event and style; each is one token.
MARKS = [
    f"<|{mark}|>"
    for mark in "zh en yue ja ko nospeech NEUTRAL HAPPY SAD ANGRY EMO_UNKNOWN Speech BGM Applause withitn woitn".split()
]
BPE = "pieces.bpe.model"
#: Frames per second.
FRAMES_PER_S = 1000 / 60
#: Factor on the spread of token scores compared with random weights.
SPREAD = 8.0


def write(folder: Path, *, seed: int = 0, tokens_per_s: float = 4.5, small: bool = False) -> None:
    """Write config.yaml, configuration.json, am.mvn, the sentence pieces and model.pt into `folder`."""
    from funasr import AutoModel  # noqa: PLC0415 - takes seconds, and --help needs none
    from funasr.download.download_model_from_hub import download_model  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TEMPLATE / "am.mvn", folder / "am.mvn")
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration(small=small)), encoding="utf-8")
    (folder / "configuration.json").write_text(json.dumps(files()), encoding="utf-8")
    (folder / BPE).write_bytes(pieces(SMALL_VOCABULARY if small else VOCABULARY))
    options = download_model(model=str(folder))
    # There is no weights file yet: FunASR prints that and keeps the initial weights.
    module, options = AutoModel.build_model(
        **options | {"device": "cpu", "disable_update": True, "seed": seed}
    )
    with torch.no_grad():
        module.ctc.ctc_lo.weight.mul_(SPREAD)
        speak_at(module.eval(), options["frontend"], tokens_per_s)
    torch.save(module.state_dict(), folder / "model.pt")


def speak_at(module: Any, frontend: Any, tokens_per_s: float) -> None:
    """Raise the score of blank until it wins in the right share of the sample's frames."""
    with wave.open(str(SAMPLE), "rb") as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    features, lengths = frontend(
        torch.from_numpy(said.astype(np.float32) / 32768)[None], torch.tensor([len(said)])
    )
    asked = module.embed.weight[[0, 1, 2, module.textnorm_dict["withitn"]]][None]
    hidden = module.encoder(torch.cat((asked, features), dim=1), lengths + 4)[0][0, 4:]
    scores = module.ctc.ctc_lo(hidden)
    best = scores[:, 1:].max(dim=-1)
    # A token that is the best of two frames running counts once, unless a blank stands between them.
    margin = best.values - scores[:, module.blank_id]
    wanted = tokens_per_s * len(hidden) / FRAMES_PER_S

    def written(bias: Any) -> int:
        chosen = torch.where(margin > bias, best.indices + 1, 0)
        runs = torch.unique_consecutive(chosen)
        return int((runs != 0).sum())

    fitting = min(margin.sort().values, key=lambda bias: abs(written(bias) - wanted))
    module.ctc.ctc_lo.bias[module.blank_id] += fitting


def configuration(*, small: bool) -> dict[str, Any]:
    """Configuration of the official model, with smaller values for a small one."""
    wide, inner, first, second = (64, 128, 3, 2) if small else (512, 2048, 50, 20)
    return {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": {
            "output_size": wide,
            "attention_heads": 4,
            "linear_units": inner,
            "num_blocks": first,
            "tp_blocks": second,
            "dropout_rate": 0.1,
            "positional_dropout_rate": 0.1,
            "attention_dropout_rate": 0.1,
            "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder",
            "normalize_before": True,
            "kernel_size": 11,
            "sanm_shfit": 0,
            "selfattention_layer_type": "sanm",
        },
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None, "unk_symbol": "<unk>", "split_with_space": True},
        "frontend": "WavFrontend",
        "frontend_conf": {
            "fs": 16000,
            "window": "hamming",
            "n_mels": 80,
            "frame_length": 25,
            "frame_shift": 10,
            "dither": 0.0,
            "lfr_m": 7,
            "lfr_n": 6,
        },
    }


def files() -> dict[str, Any]:
    """Content of `configuration.json`, with which FunASR finds the files of a directory."""
    return {
        "framework": "pytorch",
        "task": "auto-speech-recognition",
        "model": {"type": "funasr"},
        "model_name_in_hub": {"ms": "", "hf": ""},
        "file_path_metas": {
            "init_param": "model.pt",
            "config": "config.yaml",
            "tokenizer_conf": {"bpemodel": BPE},
            "frontend_conf": {"cmvn_file": "am.mvn"},
        },
    }


def pieces(count: int) -> bytes:
    """SentencePiece model with the given number of tokens: tags, characters and invented words, some after a space."""
    syllables = [a + b for a in "bdfgklmnprstvz" for b in ("a", "e", "i", "o", "u", "an", "en", "on")]
    characters = [chr(0x4E00 + i) for i in range(count // 2)]
    chance = random.Random(0)
    words = ["".join(w) for w in itertools.islice(itertools.product(syllables, repeat=2), count)]
    lines = ["".join(characters[i : i + 20]) for i in range(0, len(characters), 20)]
    lines += [" ".join(chance.sample(words, 8)) for _ in range(count)]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_writer=model,
        model_type="bpe",
        vocab_size=count,
        character_coverage=1.0,
        user_defined_symbols=MARKS,
        add_dummy_prefix=False,
        minloglevel=1,
    )
    return model.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens-per-s", type=float, default=4.5)
    parser.add_argument("--small", action="store_true", help="few narrow layers, few tokens")
    options = parser.parse_args()
    write(options.folder, seed=options.seed, tokens_per_s=options.tokens_per_s, small=options.small)
    print(options.folder)


if __name__ == "__main__":
    main()
