"""A small SenseVoiceSmall that outputs known sentences for the bundled sample, as a directory that FunASR loads.

Its encoder is random; its head is fitted so that for parts of the sample (and no other audio) the output is like a
trained model's: marks first, blanks between tokens, words of several pieces, repeated tokens.
"""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import io
import json
import shutil
import warnings
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dropscribe.engine.core.interfaces import Pcm
from dropscribe.engine.models import store

TEMPLATE = store.BUNDLED / "paraformer-mini"
#: Start and end of each sentence in the sample, seconds, and the model's output for it.
SAID = (
    (0.3, 4.5, "今天天气很好，我们妈妈去 the chieftain's park 散步。"),
    (5.3, 8.7, "It's 3.14 percent<|BGM|> of 年轻人“好”!"),
    (9.6, 13.2, "안녕하세요 여러분 이것은《书》hello中文"),
)
#: Parts of the sample, seconds; the first three are those that the bundled detector finds.
CUTS = ((0.28, 4.53), (5.29, 8.78), (9.55, 13.28), (0.0, 14.35), (5.3, 6.0), (10.0, 10.3), (0.0, 0.05))
ASKED = ("<|zh|>", "<|NEUTRAL|>", "<|Speech|>", "<|withitn|>")
MARKS = (*ASKED, "<|BGM|>", "<|nospeech|>", "<|woitn|>")
FRAME_S = 0.06
#: Scale of the logits, for probabilities as sharp as a trained model's.
SHARP = 12.0
#: Ridge regularisation of the head, so that its output does not depend on rounding.
RIDGE = 1e-4


def pieces() -> list[Pcm]:
    """Parts of the sample of very different lengths."""
    with wave.open(str(store.SAMPLE)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    return [said[int(a * 16_000) : int(b * 16_000)] for a, b in CUTS]


def write(folder: Path) -> None:
    """Write config.yaml, configuration.json, am.mvn, the sentence pieces and model.pt into `folder`."""
    with warnings.catch_warnings():
        # FunASR and its dependencies warn about their own deprecated imports.
        warnings.simplefilter("ignore")
        _write(folder)


def _write(folder: Path) -> None:
    import torch
    from funasr import AutoModel
    from funasr.download.download_model_from_hub import download_model

    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TEMPLATE / "am.mvn", folder / "am.mvn")
    config = {
        "model": "SenseVoiceSmall",
        "model_conf": {"length_normalized_loss": True, "sos": 1, "eos": 2, "ignore_id": -1},
        "encoder": "SenseVoiceEncoderSmall",
        "encoder_conf": {"output_size": 512, "linear_units": 128, "num_blocks": 2, "tp_blocks": 1},
        "tokenizer": "SentencepiecesTokenizer",
        "tokenizer_conf": {"bpemodel": None},
        "frontend": "WavFrontend",
        "frontend_conf": {"n_mels": 80, "dither": 0.0, "lfr_m": 7, "lfr_n": 6},
    }
    # FunASR reads YAML, of which JSON is a subset.
    (folder / "config.yaml").write_text(json.dumps(config), encoding="utf-8")
    files = json.loads((TEMPLATE / "configuration.json").read_text(encoding="utf-8"))
    files["file_path_metas"]["tokenizer_conf"] = {"bpemodel": "pieces.bpe.model"}
    (folder / "configuration.json").write_text(json.dumps(files), encoding="utf-8")
    (folder / "pieces.bpe.model").write_bytes(sentence_pieces())
    options = download_model(model=str(folder))
    module, options = AutoModel.build_model(**options | {"device": "cpu", "disable_update": True, "seed": 0})
    with torch.no_grad():
        _fit(module.eval(), options["tokenizer"].sp, options["frontend"])
    torch.save(module.state_dict(), folder / "model.pt")


def sentence_pieces() -> bytes:
    """A SentencePiece model like the official one: marks are tokens, a text begins without a space."""
    import sentencepiece

    model = io.BytesIO()
    texts = [text.replace("<|BGM|>", " ") for _, _, text in SAID]
    more = ["The. the chief the park a percent of the chief 안녕 하세요 妈妈 hello"] * 3
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([*texts, *more]),
        model_writer=model,
        model_type="bpe",
        vocab_size=105,
        character_coverage=1.0,
        user_defined_symbols=list(MARKS),
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        # FunASR's alignment encodes each piece again, and a single space must be kept.
        remove_extra_whitespaces=False,
        minloglevel=2,
    )
    return model.getvalue()


def _labels(processor: Any, cut: tuple[float, float], rows: int) -> Iterator[int]:
    """Target token of each frame of a cut: tokens of a sentence are spread evenly over its time, half of it blank."""
    for row in range(rows):
        at = cut[0] + row * FRAME_S
        label = 0
        for start, end, text in SAID:
            ids = processor.EncodeAsIds(text)
            place = (at - start) / (end - start) * len(ids)
            if 0 <= place < len(ids) and place % 1 < 0.5 + 0.2 * (int(place) % 2):
                label = ids[int(place)]
        yield label


def _fit(module: Any, processor: Any, frontend: Any) -> None:
    import torch

    hidden, labels = [], []
    for cut, pcm in zip(CUTS, pieces(), strict=True):
        samples = torch.from_numpy(pcm.astype(np.float32) / 32768)
        features, lengths = frontend(samples[None], torch.tensor([len(pcm)]))
        asked = module.embed.weight[[0, 1, 2, module.textnorm_dict["withitn"]]][None]
        hidden.append(module.encoder(torch.cat((asked, features), dim=1), lengths + 4)[0][0])
        labels += [processor.PieceToId(mark) for mark in ASKED]
        labels += _labels(processor, cut, features.shape[1])
    x = torch.cat(hidden).double()
    wanted = torch.nn.functional.one_hot(torch.tensor(labels), processor.GetPieceSize()).double()
    gram = x @ x.T
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram))
    head = module.ctc.ctc_lo
    head.weight.copy_((x.T @ torch.linalg.solve(gram, wanted)).T * SHARP)
    head.bias.zero_()
