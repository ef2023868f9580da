"""SenseVoiceSmall: tokens of the native implementation equal FunASR's inference, in any batch."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine.core.interfaces import Pcm, SpeechSegment
from dropscribe.engine.protocol import StreamOptions
from dropscribe.errors import DeviceFailedError, EngineError
from dropscribe.transcript.types import Tags
from tests.support import sense_voice as material
from tests.support.engines import FUNASR_WARNS, assembled, segment

pytestmark = FUNASR_WARNS

MARK = re.compile(r"<\|[^|]*\|>")
#: Number of marks at the beginning, which FunASR does not align.
ASKED = len(material.ASKED)


@dataclass(frozen=True)
class Said:
    """Result of FunASR's inference for one segment."""

    text: str  #: with marks
    spans: list[tuple[int, int]]  #: of every token after the first four, ms

    @property
    def plain(self) -> str:
        return " ".join(MARK.sub("", self.text).split())


Oracle = Callable[..., Said]


def segments(pcms: Sequence[Pcm], start_ms: int = 0) -> list[SpeechSegment]:
    return [segment(p, i, start_ms=start_ms) for i, p in enumerate(pcms)]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sense-voice")
    material.write(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(directory: Path) -> Any:
    import torch

    from dropscribe.engine.models.loading import load

    torch.set_num_threads(1)
    return load(directory, torch.device("cpu"), 1)


@pytest.fixture(scope="module")
def recogniser(loaded: Any) -> Any:
    from dropscribe.engine.models.sense_voice.recogniser import SenseVoiceRecogniser

    return SenseVoiceRecogniser(loaded)


def oracle_of(loaded: Any) -> Oracle:
    import torch

    def ask(pcm: Pcm, *, times: bool = True, **options: Any) -> Said:
        aligned: list[Any] = []

        def post(timestamp: Any) -> Any:
            """Replacement for FunASR's joining of words: every token with its position."""
            aligned.extend(timestamp)
            return [], []

        given = loaded.options | {"use_itn": True, "output_timestamp": times, "device": "cpu"} | options
        given |= {"tokenizer": loaded.tokenizer, "frontend": loaded.frontend, "key": ["one"]}
        with pytest.MonkeyPatch.context() as patch, torch.no_grad():
            patch.setattr(loaded.module, "post", post)
            results, _ = loaded.module.inference([torch.from_numpy(pcm.astype(np.float32) / 32768)], **given)
        return Said(results[0]["text"], [(int(a * 1000), int(b * 1000)) for _, a, b in aligned])

    return ask


@pytest.fixture(scope="module")
def oracle(loaded: Any) -> Oracle:
    return oracle_of(loaded)


def test_a_mixed_batch_gives_the_tokens_and_places_that_each_has_alone(
    recogniser: Any, loaded: Any, oracle: Oracle
) -> None:
    pcms = material.pieces()
    spoken = recogniser._forward(pcms, recogniser._questions.of(segments(pcms)))
    for pcm, one in zip(pcms, spoken, strict=True):
        wanted = oracle(pcm)
        assert loaded.tokenizer.decode(one.ids) == wanted.text
        assert one.spans[ASKED:] == wanted.spans
        assert len(one.spans) == len(one.ids)
    assert sum(len(one.ids) for one in spoken) > 120


def test_the_text_is_what_funasr_says_without_the_marks(recogniser: Any, oracle: Oracle) -> None:
    said = {h.stream: h for h in recogniser(segments(material.pieces()))}
    for i, pcm in enumerate(material.pieces()):
        assert said[i].text == oracle(pcm).plain
    assert [said[i].text for i in range(3)] == [MARK.sub("", text) for _, _, text in material.SAID]
    assert [t.text for t in said[0].tokens] == [*"今天天气很", "好，", *"我们", "妈妈", "去", "the", "chieftain's", "park", "散", "步。"]  # fmt: skip
    assert [t.text for t in said[1].tokens] == ["It's", "3.14", "percent", "of", "年", "轻", "人", "“好”!"]


def test_threads_that_divide_a_batch_change_nothing(loaded: Any, recogniser: Any) -> None:
    import torch

    from dropscribe.engine.models.sense_voice.recogniser import SenseVoiceRecogniser

    try:
        said = {h.stream: h for h in SenseVoiceRecogniser(loaded, threads=2)(segments(material.pieces()))}
    finally:
        torch.set_num_threads(1)
    assert said == {h.stream: h for h in recogniser(segments(material.pieces()))}


def test_words_stand_at_absolute_times_one_after_the_other(recogniser: Any, oracle: Oracle) -> None:
    (here,) = recogniser(segments(material.pieces()[:1]))
    (later,) = recogniser(segments(material.pieces()[:1], start_ms=7_000))
    assert [(t.text, t.start_ms + 7_000, t.end_ms + 7_000) for t in here.tokens] == [
        (t.text, t.start_ms, t.end_ms) for t in later.tokens
    ]
    tokens = here.tokens
    spans = oracle(material.pieces()[0]).spans
    # The first six characters are single tokens in FunASR, too.
    assert [(t.start_ms, t.end_ms) for t in tokens[:6]] == spans[:6]
    assert all(a.end_ms <= b.start_ms for a, b in pairwise(tokens))


def test_every_segment_gets_a_hypothesis_even_without_speech(recogniser: Any) -> None:
    quiet = [np.zeros(n, np.int16) for n in (0, 100, 400, 16_000)]
    assert sorted(h.stream for h in recogniser(segments(quiet))) == [0, 1, 2, 3]
    said = recogniser(segments([*quiet, *material.pieces()[:1]]))
    assert sorted(h.stream for h in said) == [0, 1, 2, 3, 4]
    assert next(h for h in said if h.stream == 4).text == MARK.sub("", material.SAID[0][2])
    assert [(h.text, h.tokens) for h in said if h.stream in {0, 1}] == [("", ()), ("", ())]


def test_a_model_of_random_weights_gives_the_tokens_of_funasr(loaded: Any, oracle: Oracle) -> None:
    """For random audio, with marks anywhere. (FunASR's alignment fails for such text, which it encodes differently.)"""
    import torch

    from dropscribe.engine.models.sense_voice.recogniser import SenseVoiceRecogniser

    head = loaded.module.ctc.ctc_lo
    kept = {name: value.clone() for name, value in head.state_dict().items()}
    rng = np.random.default_rng(3)
    said = np.concatenate(material.pieces())
    cuts = [(int(rng.integers(0, 300_000)), int(rng.integers(800, 100_000))) for _ in range(12)]
    pcms = [said[at : at + count] + rng.integers(-90, 90, count, dtype=np.int16) for at, count in cuts]
    try:
        with torch.no_grad():
            head.weight.copy_(torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(1)))
            head.bias[0] = 40.0
        made = SenseVoiceRecogniser(loaded)
        spoken = made._forward(pcms, made._questions.of(segments(pcms)))
        texts = [oracle(pcm, times=False).text for pcm in pcms]
    finally:
        head.load_state_dict(kept)
    assert [loaded.tokenizer.decode(one.ids) for one in spoken] == texts
    assert len(set(texts)) == len(texts)


def test_runs_of_frames_are_where_forced_alignment_puts_the_tokens() -> None:
    """Compared with FunASR's forced alignment of the same scores: thousands of tokens, repeats, no blanks."""
    import torch
    from funasr.models.sense_voice.utils.ctc_alignment import ctc_forced_align

    from dropscribe.engine.models.sense_voice.collapse import collapse, runs

    generator = torch.Generator().manual_seed(0)
    lengths = [1, 2, 3, 5, 8, 40, 41, 150, 300, 7] * 4
    scores = [
        (torch.randn(n, 12, generator=generator) * 3 + torch.eye(12)[0] * (i % 5)).log_softmax(-1)
        for i, n in enumerate(lengths)
    ]
    ends = torch.tensor([0, *lengths]).cumsum(0)
    best = torch.cat([s.argmax(dim=-1) for s in scores])
    spoken = runs(collapse(best, ends, 0).numpy(), lengths, 0)
    for s, one in zip(scores, spoken, strict=True):
        wanted = [k for k, _ in groupby(s.argmax(-1).tolist()) if k != 0]
        assert one.ids == wanted
        if not wanted:
            assert one.spans == []
            continue
        certain = s.clone()
        certain[s.argmax(dim=-1) == 0, 0] = 0
        count = torch.tensor([len(wanted)])
        aligned = ctc_forced_align(certain[None], torch.tensor([wanted]), torch.tensor(len(s)), count)
        at, spans = 0, []
        for token, frames in groupby(aligned[0].tolist()):
            until = at + len(list(frames))
            if token != 0:
                start = max((at * 60 - 30) / 1000, 0)
                spans.append((int(start * 1000), int((until * 60 - 30) / 1000 * 1000)))
            at = until
        assert one.spans == spans
    assert sum(len(one.ids) for one in spoken) > 1000


def test_features_of_hardly_any_variance_are_normalised_as_the_model_does(loaded: Any) -> None:
    """Layer norms of Paraformer use eps 1e-12, those of this model 1e-5."""
    import torch

    from dropscribe.engine.layers.sanm import norm

    module = loaded.module.encoder.after_norm
    x = torch.randn(3, 512, generator=torch.Generator().manual_seed(0)) * 1e-3
    assert torch.allclose(norm(module, torch.float32)(x), module(x), atol=1e-6)


def test_hallucinated_text_on_silence_is_removed(loaded: Any) -> None:
    from dropscribe.engine.models.sense_voice.collapse import DecodedSegment
    from dropscribe.engine.models.sense_voice.recogniser import SenseVoiceRecogniser

    def saying(text: str) -> Any:
        ids = loaded.tokenizer.encode("<|nospeech|><|NEUTRAL|>" + text)
        return SenseVoiceRecogniser(
            loaded, lambda pcms, _: [DecodedSegment(ids, [(0, 60)] * len(ids)) for _ in pcms]
        )

    (habit,) = saying("The.")(segments(material.pieces()[:1]))
    assert (habit.text, habit.tokens) == ("", ())
    (speech,) = saying("The. park")(segments(material.pieces()[:1]))
    assert speech.text == "The. park"


class TwoSteps:
    """A forward pass in two steps, like a GPU's; the second may fail."""

    def __init__(self, whole: Any, error: Exception | None = None) -> None:
        self._whole = whole
        self._error = error

    def begin(self, sounds: Sequence[Any], queries: Any) -> Any:
        return list(sounds), queries

    def wait_for(self, launched: Any) -> None:
        if self._error is not None:
            raise self._error

    def collect(self, launched: Any) -> Any:
        return self._whole(*launched)


def pipelined(recogniser: Any, loaded: Any, error: Exception | None = None) -> Any:
    from dropscribe.engine.models.sense_voice.recogniser import PipelinedSenseVoice, SenseVoiceRecogniser

    # Without its constructor, which needs CUDA.
    made = object.__new__(PipelinedSenseVoice)
    SenseVoiceRecogniser.__init__(made, loaded, recogniser._forward)
    made._packed = TwoSteps(recogniser._forward, error)  # type: ignore[assignment]
    made._words = ThreadPoolExecutor(1)
    return made


def test_batches_under_way_come_out_as_they_went_in(recogniser: Any, loaded: Any) -> None:
    pcms = [*material.pieces(), material.pieces()[0][:100]]
    batches = [segments(pcms[i : i + 3]) for i in range(0, len(pcms), 3)]
    pipeline = pipelined(recogniser, loaded)
    begun = [pipeline.begin(batch) for batch in batches]
    for batch, handle in zip(batches, begun, strict=True):
        said = sorted(pipeline.finish(handle), key=lambda h: h.stream)
        assert said == sorted(recogniser(batch), key=lambda h: h.stream)


def test_errors_in_decoding_tokens_are_raised_by_their_batch(recogniser: Any, loaded: Any) -> None:
    pipeline = pipelined(recogniser, loaded, RuntimeError("CUDA error: unspecified launch failure"))
    handle = pipeline.begin(segments(material.pieces()[:1]))
    with pytest.raises(DeviceFailedError, match="unspecified launch failure"):
        pipeline.finish(handle)


def test_the_registry_selects_the_native_implementation(directory: Path) -> None:
    from dropscribe.engine.models.sense_voice.recogniser import SenseVoiceRecogniser

    notes: list[str] = []
    settings = EngineSettings(model=str(directory), vad_model="vad-mini", device="cpu", threads=1)
    loaded = assembled(settings, notes.append)
    assert isinstance(loaded.recogniser, SenseVoiceRecogniser)
    assert loaded.facts.precision == "fp32"
    assert notes == []


def configured(directory: Path, folder: Path, **options: Any) -> Any:
    """Load the same model with further options in config.yaml."""
    import torch

    from dropscribe.engine.models.loading import load

    shutil.copytree(directory, folder)
    config = json.loads((folder / "config.yaml").read_text(encoding="utf-8"))
    (folder / "config.yaml").write_text(json.dumps(config | options), encoding="utf-8")
    return load(folder, torch.device("cpu"), 1)


def test_language_and_style_follow_config_yaml(
    directory: Path, loaded: Any, oracle: Oracle, tmp_path: Path
) -> None:
    from dropscribe.engine.models.sense_voice.recogniser import Questions, SenseVoiceRecogniser

    told = configured(directory, tmp_path / "told", language="en", use_itn=False)
    pcms = material.pieces()[:3]
    asked = Questions(told).of(segments(pcms))
    spoken = SenseVoiceRecogniser(told)._forward(pcms, asked)
    wanted = [oracle(pcm, times=False, language="en", use_itn=False).text for pcm in pcms]
    assert [told.tokenizer.decode(one.ids) for one in spoken] == wanted
    assert not asked.equal(Questions(loaded).of(segments(pcms)))


def test_each_segment_is_asked_for_the_language_of_its_stream(
    recogniser: Any, loaded: Any, oracle: Oracle
) -> None:
    assert recogniser.languages == ("en", "ja", "ko", "yue", "zh")
    languages = ("en", "auto", "ko")
    batch = [
        s._replace(options=StreamOptions(language=name))
        for s, name in zip(segments(material.pieces()[:3]), languages, strict=True)
    ]
    asked = recogniser._questions.of(batch)
    assert asked.shape[:2] == (3, 4)
    spoken = recogniser._forward(material.pieces()[:3], asked)
    wanted = [
        oracle(pcm, times=False, language=name).text
        for pcm, name in zip(material.pieces()[:3], languages, strict=True)
    ]
    assert [loaded.tokenizer.decode(one.ids) for one in spoken] == wanted


def test_tags_are_apart_from_the_text(recogniser: Any) -> None:
    said = {h.stream: h for h in recogniser(segments(material.pieces()[:3]))}
    assert said[0].tags == Tags("zh", "neutral", ("speech",))
    assert said[1].tags == Tags("zh", "neutral", ("speech", "bgm"))
    assert "<|" not in "".join(h.text for h in said.values())


def test_an_unsupported_language_is_refused(directory: Path, tmp_path: Path) -> None:
    from dropscribe.engine.models.sense_voice.recogniser import SenseVoiceRecogniser

    told = configured(directory, tmp_path / "told", language="fr")
    with pytest.raises(EngineError, match="does not know the language fr") as caught:
        SenseVoiceRecogniser(told)
    assert caught.value.path == tmp_path / "told"
    assert "auto, en, ja, ko" in caught.value.remedy


def test_a_directory_that_lacks_a_part_is_refused(loaded: Any) -> None:
    from dropscribe.engine.models.sense_voice.recogniser import SenseVoiceRecogniser

    with pytest.raises(EngineError, match="no sentence piece model"):
        SenseVoiceRecogniser(dataclasses.replace(loaded, tokenizer=None))
    with pytest.raises(EngineError, match="no mean and variance"):
        SenseVoiceRecogniser(dataclasses.replace(loaded, frontend=None))
