"""Other recognisers of FunASR run by `AutoModel`, with options that dropscribe has read and checked."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dropscribe.engine.models import store
from dropscribe.engine.models.families import Kind, kind_of
from dropscribe.transcript.roles import ASR
from tests.support.engines import FUNASR_WARNS, segment
from tests.support.models import MINI, change, change_list, copy_of, with_random_weights
from tests.support.seaco import pieces

pytestmark = FUNASR_WARNS


def conformer(config: dict[str, Any]) -> None:
    config.clear()
    config |= {
        "model": "Conformer",
        "model_conf": {"ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": False},
        "encoder": "ConformerEncoder",
        "encoder_conf": {
            "output_size": 64, "attention_heads": 4, "linear_units": 128, "num_blocks": 2, "input_layer": "conv2d",
            "macaron_style": True, "rel_pos_type": "latest", "pos_enc_layer_type": "rel_pos", "use_cnn_module": True,
            "selfattention_layer_type": "rel_selfattn", "activation_type": "swish", "cnn_module_kernel": 15,
        },
        "decoder": "TransformerDecoder",
        "decoder_conf": {"attention_heads": 4, "linear_units": 128, "num_blocks": 1},
        "frontend": "WavFrontend",
        "frontend_conf": {"fs": 16000, "window": "hamming", "n_mels": 80, "dither": 0.0},
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": "<unk>"},
        "beam_size": 3,
    }  # fmt: skip


def test_a_conformer_gives_the_text_of_funasr(tmp_path: Path) -> None:
    import torch
    from funasr import AutoModel

    from dropscribe.engine.models.automodel import AutoModelRecogniser

    folder = change(copy_of(MINI, tmp_path / "m"), conformer)
    change_list(folder, lambda files: files.pop("frontend_conf"))
    with_random_weights(folder)
    found = store.resolve(str(folder), ASR, lambda _: folder)
    assert kind_of(found.config.family) is Kind.AUTO_MODEL
    recogniser = AutoModelRecogniser(found.directory, torch.device("cpu"), 1)
    model: Any = AutoModel(
        model=str(folder), device="cpu", disable_update=True, disable_pbar=True, log_level="ERROR"
    )
    for pcm in pieces()[3:]:
        (said,) = recogniser([segment(pcm)])
        wanted = model.generate(input=pcm.astype(np.float32) / 32768, fs=16_000)[0]["text"]
        assert said.text.replace(" ", "") == wanted.replace(" ", "") != ""
