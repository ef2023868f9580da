"""Write a FunASR model directory of the official Paraformer architecture with timestamps, with random weights.

    .venv/bin/python benchmarks/random_model.py DIR [--family bicif|seaco] [--seed 0] [--tokens-per-s 4.5] [--small]

Size and cost are those of the official model (50 encoder layers of 512/2048, 16 decoder layers, 8,404 tokens, 225 M
parameters; seaco: a second decoder of 6 layers, 247 M); its output is nonsense. With hotwords, a SeACo model replaces
about half of the tokens. The predictor's bias is set for the token rate of speech. With --small the layers are few
and narrow, for trying a script. Filter bank and CMVN are those of the bundled model.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from pathlib import Path
from typing import Any

import torch
import yaml

from dropscribe.engine.models.store import BUNDLED

TEMPLATE = BUNDLED / "paraformer-mini"
VOCABULARY = 8404
#: LFR frames per second (60 ms each), each with one predictor weight.
FRAMES_PER_S = 1000 / 60
FAMILIES = ("bicif", "seaco")
#: SeACo's token for "no bias".
NO_BIAS = 8377
#: Bias of its score with which it wins over the best of the random scores in about half of the cases.
NO_BIAS_SCORE = 3.0
#: Factor on the attention to hotwords, which is almost uniform with random weights.
HEED = 30.0
#: Factor on the weights of the predictor's output, so that the bias dominates and some variation remains.
CALM = 0.1


def write(
    folder: Path, *, family: str = "bicif", seed: int = 0, tokens_per_s: float = 4.5, small: bool = False
) -> None:
    """Write config.yaml, configuration.json, tokens.json, am.mvn, model.pt and, for SeACo, seg_dict into `folder`."""
    from funasr import AutoModel  # noqa: PLC0415 - takes seconds, and --help needs none
    from funasr.download.download_model_from_hub import download_model  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("am.mvn", "configuration.json"):
        shutil.copyfile(TEMPLATE / name, folder / name)
    config = configuration(
        yaml.safe_load((TEMPLATE / "config.yaml").read_text(encoding="utf-8")), small=small
    )
    if family == "seaco":
        config |= seaco(config, small=small)
        spelt = "".join(f"{token} {token}\n" for token in tokens()[3:-1])
        (folder / "seg_dict").write_text(spelt, encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    (folder / "tokens.json").write_text(json.dumps(tokens(), ensure_ascii=False), encoding="utf-8")
    # Without a weights file FunASR keeps the initial weights; a file of an earlier call would be loaded.
    (folder / "model.pt").unlink(missing_ok=True)
    options = download_model(model=str(folder))
    module, _ = AutoModel.build_model(**options | {"device": "cpu", "disable_update": True, "seed": seed})
    with torch.no_grad():
        module.predictor.cif_output.weight.mul_(CALM)
        module.predictor.cif_output.bias.fill_(logit(tokens_per_s / FRAMES_PER_S))
        module.predictor.cif_output2.weight.mul_(CALM)
        # Three times as many frames; their weights are multiplied by smooth_factor2 (0.25), less the noise threshold.
        module.predictor.cif_output2.bias.fill_(logit(tokens_per_s / FRAMES_PER_S / 3 / 0.25))
        if family == "seaco":
            module.hotword_output_layer.bias[NO_BIAS] = NO_BIAS_SCORE
            for layer in module.seaco_decoder.decoders:
                layer.src_attn.linear_k_v.weight.mul_(HEED)
    torch.save(module.state_dict(), folder / "model.pt")


def configuration(template: dict[str, Any], *, small: bool) -> dict[str, Any]:
    """Configuration of the bundled model at the official size."""
    wide, inner, encoder, decoder = (64, 128, 3, 2) if small else (512, 2048, 50, 16)
    template["encoder_conf"] |= {"output_size": wide, "linear_units": inner, "num_blocks": encoder}
    template["decoder_conf"] |= {"linear_units": inner, "num_blocks": decoder, "att_layer_num": decoder}
    template["predictor_conf"]["idim"] = wide
    return template


def seaco(config: dict[str, Any], *, small: bool) -> dict[str, Any]:
    """Options that make a configuration one of a SeACo model of the official size."""
    wide = config["encoder_conf"]["output_size"]
    more = {"inner_dim": wide, "bias_encoder_type": "lstm", "bias_encoder_bid": False, "NO_BIAS": NO_BIAS}
    decoder = dict(config["decoder_conf"])
    decoder |= {
        "linear_units": 128 if small else 1024,
        "num_blocks": 6,
        "att_layer_num": 6,
        "kernel_size": 21,
    }
    return {
        "model": "SeacoParaformer",
        "model_conf": config["model_conf"] | more,
        "seaco_decoder": config["decoder"],
        "seaco_decoder_conf": decoder | {"use_output_layer": False, "wo_input_layer": True},
    }


def tokens() -> list[str]:
    """Token list: blank, start, end, Chinese characters, unknown."""
    return ["<blank>", "<s>", "</s>", *(chr(0x4E00 + i) for i in range(VOCABULARY - 4)), "<unk>"]


def logit(share: float) -> float:
    return math.log(share / (1 - share))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--family", choices=FAMILIES, default="bicif")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens-per-s", type=float, default=4.5)
    parser.add_argument("--small", action="store_true", help="few narrow layers")
    options = parser.parse_args()
    write(
        options.folder, family=options.family, seed=options.seed,
        tokens_per_s=options.tokens_per_s, small=options.small,
    )  # fmt: skip
    print(options.folder)


if __name__ == "__main__":
    main()
