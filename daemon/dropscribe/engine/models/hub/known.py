"""Models that `dropscribe models` lists: role, name on the hub, size, licence.

Sizes are those of weights and vocabularies as the hub has them in 2026, bytes; licences those of the models' pages. The hub
may have changed them since: a download states the size that the hub lists.
"""

from __future__ import annotations

from dataclasses import dataclass

from dropscribe.transcript.roles import ASR, PUNCTUATION, SPEAKERS, VAD

_APACHE = "Apache-2.0"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model by its FunASR name. `hub_id` None: bundled. `size` None: not known."""

    name: str
    role: str
    hub_id: str | None
    size: int | None
    licence: str


KNOWN: tuple[KnownModel, ...] = (
    KnownModel(
        "paraformer-zh",
        ASR,
        "iic/speech_seaco_paraformer_large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
        998_159_713,
        _APACHE,
    ),
    KnownModel(
        "paraformer",
        ASR,
        "iic/speech_paraformer-large_asr_nat-zh-cn-16k-common-vocab8404-pytorch",
        880_609_872,
        _APACHE,
    ),
    KnownModel("iic/SenseVoiceSmall", ASR, "iic/SenseVoiceSmall", 936_682_164, "FunASR Model License"),
    KnownModel("fsmn-vad", VAD, "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch", 1_730_986, _APACHE),
    KnownModel(
        "ct-punc",
        PUNCTUATION,
        "iic/punc_ct-transformer_cn-en-common-vocab471067-large",
        1_140_000_000,
        _APACHE,
    ),
    KnownModel(
        "ct-punc-c",
        PUNCTUATION,
        "iic/punc_ct-transformer_zh-cn-common-vocab272727-pytorch",
        296_000_000,
        _APACHE,
    ),
    KnownModel("paraformer-mini", ASR, None, None, "MIT"),
    KnownModel("vad-mini", VAD, None, None, "MIT"),
    KnownModel("ct-punc-mini", PUNCTUATION, None, None, "MIT"),
    KnownModel("cam++", SPEAKERS, "iic/speech_campplus_sv_zh-cn_16k-common", 28_000_000, _APACHE),
    KnownModel("campplus-zh-en", SPEAKERS, None, None, _APACHE),
)
