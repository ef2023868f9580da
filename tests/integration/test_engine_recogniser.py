"""Paraformer: text and positions of each segment equal FunASR's inference, in any batch."""

# ruff: noqa: PLC0415 - torch and funasr take seconds and warn at import: only where a test runs them

from __future__ import annotations

import itertools
import os
import random
import shutil
import wave
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from dropscribe.config import EngineSettings
from dropscribe.engine import registry
from dropscribe.engine.core.batcher import Batcher
from dropscribe.engine.core.interfaces import Hypothesis, Pcm, Recogniser, SpeechSegment
from dropscribe.engine.core.residency import Part
from dropscribe.engine.models import store
from dropscribe.engine.protocol import Event, PcmBlock, SegmentDone, StreamDone, StreamFailed
from dropscribe.errors import EngineError
from dropscribe.transcript.roles import ASR
from dropscribe.transcript.types import NO_TOKENS
from tests.support.engines import FUNASR_WARNS, segment, started

pytestmark = FUNASR_WARNS

MINI = store.BUNDLED / "paraformer-mini"
Oracle = Callable[[Pcm], tuple[list[str], list[tuple[int, int]]]]


def segments(pcms: Sequence[Pcm], start_ms: int = 0) -> list[SpeechSegment]:
    return [segment(p, i, start_ms=start_ms) for i, p in enumerate(pcms)]


def pieces() -> list[Pcm]:
    """Parts of the sample of very different lengths."""
    with wave.open(str(store.SAMPLE)) as file:
        said = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    cuts = ((0.28, 4.53), (5.29, 8.78), (9.55, 13.28), (0.0, 14.35), (5.3, 6.0), (10.0, 10.3))
    return [said[int(a * 16_000) : int(b * 16_000)] for a, b in cuts]


@pytest.fixture(scope="module")
def loaded() -> Any:
    import torch

    from dropscribe.engine.models.loading import load

    torch.set_num_threads(1)
    return load(MINI, torch.device("cpu"), 1)


@pytest.fixture(scope="module")
def recogniser(loaded: Any) -> Recogniser:
    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    return ParaformerRecogniser(loaded)


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    import torch
    from funasr import AutoModel

    model: Any = AutoModel(model=str(MINI), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)

    def ask(pcm: Pcm) -> tuple[list[str], list[tuple[int, int]]]:
        results = model.generate(input=torch.from_numpy(pcm.astype(np.float32) / 32768), fs=16_000)
        if not results:
            return [], []
        return results[0]["text"].split(), [(a, b) for a, b in results[0]["timestamp"]]

    return ask


def in_batches(recogniser: Recogniser, wanted: list[SpeechSegment]) -> dict[int, Hypothesis]:
    batcher: Batcher[SpeechSegment] = Batcher(60.0, 0.1)
    for one in wanted:
        batcher.add(one, 0.0)
    said: dict[int, Hypothesis] = {}
    while (batch := batcher.next(0.0, flush=True)) is not None:
        said |= {h.stream: h for h in recogniser(batch.segments)}
    return said


def test_a_mixed_batch_gives_what_each_gives_alone(recogniser: Recogniser, oracle: Oracle) -> None:
    said = {h.stream: h for h in recogniser(segments(pieces()))}
    for i, pcm in enumerate(pieces()):
        words, spans = oracle(pcm)
        assert [t.text for t in said[i].tokens] == words
        assert [(t.start_ms, t.end_ms) for t in said[i].tokens] == spans
        assert said[i].text == "".join(words)
    assert sum(len(h.text) for h in said.values()) > 80


def test_threads_that_divide_a_batch_change_nothing(loaded: Any, recogniser: Recogniser) -> None:
    import torch

    from dropscribe.engine.models.paraformer.recogniser import ParaformerRecogniser

    try:
        said = {h.stream: h for h in ParaformerRecogniser(loaded, threads=3)(segments(pieces()))}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(1)
    assert said == {h.stream: h for h in recogniser(segments(pieces()))}


@pytest.mark.parametrize("precision", ["int8", "bf16"])
def test_other_factors_say_almost_what_fp32_says_in_any_batch(
    recogniser: Recogniser, precision: Literal["int8", "bf16"]
) -> None:
    import torch
    from rapidfuzz.distance import Levenshtein

    from dropscribe.engine.layers.linear import bf16, int8

    if precision == "int8" and int8.products() == "none":
        pytest.skip("this processor or torch has no products of 8 bits")
    if precision == "bf16" and not bf16.has_products():
        pytest.skip("this processor or torch has no products in bf16")
    settings = EngineSettings(model="paraformer-mini", device="cpu", threads=2, precision=precision)
    loader = registry.ModelLoader(settings, lambda _: None)
    ready = loader.load(loader.find(Part(ASR, "paraformer-mini")))
    assert ready.precision == precision
    other: Any = ready.model
    try:
        said = {h.stream: h for h in other(segments(pieces()))}
    finally:
        torch.set_num_threads(1)
    expected = {h.stream: h.text for h in recogniser(segments(pieces()))}
    changed = sum(Levenshtein.distance(said[i].text, text) for i, text in expected.items())
    assert changed <= 0.03 * sum(map(len, expected.values()))
    (alone,) = other(segments(pieces())[:1])
    assert alone.text == said[0].text


def test_precisions_are_refused_where_they_cannot_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from dropscribe.engine.layers.linear import bf16, int8

    monkeypatch.setattr(int8, "products", lambda: "none")
    monkeypatch.setattr(bf16, "has_products", lambda: False)
    for settings, lacks in (
        (EngineSettings(precision="int8"), "no products of 8 bits"),
        (EngineSettings(precision="bf16"), "no products in bf16"),
    ):
        with pytest.raises(EngineError, match=f"{settings.precision} is for the CPU"):
            registry._precision(settings, torch.device("cuda"))
        with pytest.raises(EngineError, match=lacks):
            registry._precision(settings, torch.device("cpu"))


def test_the_sample_through_the_whole_engine_is_what_funasr_makes_of_it() -> None:
    """The engine process compared with `AutoModel` with the same two models."""
    from funasr import AutoModel

    with wave.open(str(store.SAMPLE)) as file:
        raw = file.readframes(file.getnframes())
    pcm = np.frombuffer(raw, np.int16)
    model: Any = AutoModel(
        model=str(MINI),
        vad_model=str(store.BUNDLED / "vad-mini"),
        device="cpu",
        ncpu=1,
        disable_update=True,
        disable_pbar=True,
    )
    (wanted,) = model.generate(input=pcm.astype(np.float32) / 32768, fs=16_000, dynamic_silence=False)
    arena = os.memfd_create("sample", os.MFD_CLOEXEC)
    os.write(arena, raw)
    engine = started(
        EngineSettings(model="paraformer-mini", vad_model="vad-mini", device="cpu", threads=1),
        arena_fd=arena,
        arena_bytes=len(raw),
    )
    try:
        engine.submit(PcmBlock(1, 0, len(pcm), final=True))
        events: list[Event] = []
        while not any(isinstance(e, (StreamDone, StreamFailed)) for e in events):
            events += engine.results(10.0)
    finally:
        engine.close()
        os.close(arena)
    said = sorted((e for e in events if isinstance(e, SegmentDone)), key=lambda e: e.index)
    assert len(said) == 3
    assert "".join(s.text for s in said) == wanted["text"].replace(" ", "")
    tokens = [t for s in said for t in s.tokens]
    assert [[t.start_ms, t.end_ms] for t in tokens] == [list(t) for t in wanted["timestamp"]]


def test_positions_are_absolute(recogniser: Recogniser) -> None:
    (here,) = recogniser(segments(pieces()[:1]))
    (later,) = recogniser(segments(pieces()[:1], start_ms=7_000))
    assert [(t.text, t.start_ms + 7_000) for t in here.tokens] == [(t.text, t.start_ms) for t in later.tokens]


def test_a_model_without_timestamps_gives_the_same_words_spread_over_the_segment(
    recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    (with_times,) = recogniser(segments(pieces()[:1], start_ms=7_000))
    inner: Any = recogniser
    monkeypatch.setattr(inner._forward, "_times", None)
    (without,) = recogniser(segments(pieces()[:1], start_ms=7_000))
    assert without.text == with_times.text
    assert without.tokens[0].start_ms == 7_000
    assert without.tokens[-1].end_ms == 7_000 + len(pieces()[0]) // 16
    assert [t.text for t in without.tokens] == [t.text for t in with_times.tokens]


def test_every_segment_gets_a_hypothesis_even_without_speech(recogniser: Recogniser) -> None:
    quiet = [np.zeros(n, np.int16) for n in (0, 100, 400, 16_000)]
    said = recogniser(segments(quiet))
    assert sorted(h.stream for h in said) == [0, 1, 2, 3]
    said = recogniser(segments([*quiet, *pieces()[:1]]))
    assert sorted(h.stream for h in said) == [0, 1, 2, 3, 4]
    assert next(h for h in said if h.stream == 4).text


def test_a_batch_in_which_no_item_has_a_token_is_a_batch_of_empty_hypotheses(
    recogniser: Recogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FunASR's inference returns no result in this case."""
    inner: Any = recogniser
    predictor = inner._forward._predictor
    weights = predictor.weights
    monkeypatch.setattr(predictor, "weights", lambda *a: (weights(*a)[0] * 0, weights(*a)[1]))
    said = recogniser(segments(pieces()[:3]))
    assert [(h.stream, h.text, h.tokens) for h in said] == [(i, "", NO_TOKENS) for i in range(3)]


def test_the_adapter_for_other_models_agrees(recogniser: Recogniser) -> None:
    import torch

    from dropscribe.engine.models.automodel import AutoModelRecogniser

    adapter = AutoModelRecogniser(MINI, torch.device("cpu"), 1)
    wanted = segments(pieces()[:3], start_ms=500)
    here = sorted(recogniser(wanted), key=lambda h: h.stream)
    # FunASR does not return the probabilities of tokens.
    assert [(h.text, tuple(h.tokens)) for h in adapter(wanted)] == [(h.text, tuple(h.tokens)) for h in here]


@pytest.mark.shared
def test_all_aishell_clips_give_the_same_words_and_positions(
    shared: Path, recogniser: Recogniser, oracle: Oracle
) -> None:
    import soundfile

    clips = [
        soundfile.read(p, dtype="int16")[0]
        for p in sorted((shared / "data/recordings/aishell").glob("*.flac"))
    ]
    assert len(clips) >= 60
    said = in_batches(recogniser, segments(clips))
    for i, clip in enumerate(clips):
        words, spans = oracle(clip)
        assert [(t.text, t.start_ms, t.end_ms) for t in said[i].tokens] == [
            (w, a, b) for w, (a, b) in zip(words, spans, strict=True)
        ]


def test_ordinary_sequences_are_joined_as_funasr_joins_them() -> None:
    """CJK characters, words, complete sub-words, spelt letters: text and positions, with and without timestamps."""
    from funasr.utils.postprocess_utils import sentence_postprocess

    from dropscribe.engine.models.text.joining import join_words

    chosen = random.Random(5)
    starts, ends = ("hel@@", "wor@@", "a@@", "l@@"), ("lo", "ld", "b", "ing", "i'm")
    ordinary = (*"今天开会年元一二", *"abcixz", "hello", "don't", "it's", "the", "machine")
    for _ in range(3_000):
        tokens: list[str] = []
        for _ in range(chosen.randrange(12)):
            if chosen.random() < 0.2:
                tokens += [*chosen.sample(starts, chosen.randrange(1, 3)), chosen.choice(ends)]
            else:
                tokens.append(chosen.choice(ordinary[: chosen.choice((8, 14, len(ordinary)))]))
        spans = [(20 * i, 20 * i + 15) for i in range(len(tokens))]
        _, places, words = sentence_postprocess(tokens, [list(s) for s in spans])
        assert join_words(tokens, spans) == (words, [tuple(p) for p in places])
        assert join_words(tokens, None) == (sentence_postprocess(tokens)[1], None)


@pytest.mark.parametrize("timed", [True, False])
def test_models_that_funasr_runs_have_their_tokens_joined_by_the_same_rules(
    timed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FunASR's joining raises IndexError for the first and loses all positions of the others."""
    import torch
    from funasr.utils import postprocess_utils

    from dropscribe.engine.models.automodel import AutoModelRecogniser

    adapter = AutoModelRecogniser(MINI, torch.device("cpu"), 1)
    theirs = postprocess_utils.sentence_postprocess
    for tokens, text in (
        ("a . b . c d", "A.B.CD"),
        ("2@@ 0@@ 2@@ 4 年", "2024年"),
        ("今 。 a t & t 网", "今。 AT&T 网"),
        ("hel@@ 天", "hel 天"),
    ):
        said = tokens.split()
        places = [[30 * i, 30 * i + 20] for i in range(len(said))]

        def generate(
            said: list[str] = said, places: list[list[int]] = places, **_: object
        ) -> list[dict[str, object]]:
            if not timed:
                return [{"text": postprocess_utils.sentence_postprocess(said)[0]}]
            text, times, _words = postprocess_utils.sentence_postprocess(said, places)
            return [{"text": text, "timestamp": times}]

        monkeypatch.setattr(adapter._model, "generate", generate)
        (heard,) = adapter([segment(np.zeros(16_000, np.int16), start_ms=500)])
        assert heard.text == text
        assert heard.tokens[0].start_ms == 500
        if timed:
            assert heard.tokens[-1].end_ms == 500 + places[-1][1]
    assert postprocess_utils.sentence_postprocess is theirs


def test_a_packed_batch_is_taken_apart_into_what_each_segment_says() -> None:
    from dropscribe.engine.models.paraformer.forward import DecodedBatch, decoded_of

    def said(batch: DecodedBatch) -> list[tuple[list[int], bytes, int, list[int] | None]]:
        fires = [None if one.fires is None else one.fires.tolist() for one in batch.segments()]
        return [
            (one.ids, one.confidence, one.frames, own)
            for one, own in zip(batch.segments(), fires, strict=True)
        ]

    ids = np.array([7, 2, 8, 0, 1, 9, 3], np.int32)
    sure = np.array([70, 20, 80, 0, 10, 90, 30], np.uint8)
    fires = np.arange(16, dtype=np.int32).reshape(4, 4)
    batch = decoded_of(ids, sure, [3, 0, 2, 2], fires, [10, 20, 30, 40], [2, 0, 1, 3])
    expected = [
        ([], b"", 20, [4]), ([], b"", 30, [8]), ([7, 8], b"FP", 10, [0, 1, 2]), ([9, 3], b"Z\x1e", 40, [12, 13, 14])
    ]  # fmt: skip
    assert said(batch) == said(DecodedBatch.of(batch.segments())) == expected
    nothing = decoded_of(ids[:0], sure[:0], [0, 0], None, [7, 9], [0, 1])
    assert said(nothing) == [([], b"", 7, None), ([], b"", 9, None)]


def test_the_confidence_is_the_probability_that_the_model_gives_each_token(recogniser: Recogniser) -> None:
    import torch
    from funasr import AutoModel
    from funasr.utils.load_utils import extract_fbank

    auto: Any = AutoModel(model=str(MINI), device="cpu", ncpu=1, disable_update=True, disable_pbar=True)
    model = auto.model
    for i, pcm in enumerate(pieces()[:3]):
        wave = torch.from_numpy(pcm.astype(np.float32) / 32768)
        with torch.inference_mode():
            features, lengths = extract_fbank([wave], data_type="sound", frontend=auto.kwargs["frontend"])
            encoded, encoded_lengths = model.encode(features, lengths)
            embeds, counts, _, _ = model.calc_predictor(encoded, encoded_lengths)[:4]
            scores, _ = model.cal_decoder_with_predictor(
                encoded, encoded_lengths, embeds, counts.round().long()
            )[:2]
        best = scores[0].softmax(-1).amax(-1)
        (said,) = recogniser(segments([pcm]))
        assert len(said.tokens.confidence) == len(said.tokens) > 10, i
        # FunASR's scores are logarithms of probabilities, whose softmax is the probability again; one byte is 1/255.
        found = np.frombuffer(said.tokens.confidence, np.uint8) / 255
        assert np.abs(found - best.numpy()[: len(found)]).max() < 0.004


def test_a_batch_has_the_confidence_of_each_segment_alone(recogniser: Recogniser) -> None:
    together = {h.stream: h.tokens.confidence for h in recogniser(segments(pieces()))}
    for i, pcm in enumerate(pieces()):
        (alone,) = recogniser(segments([pcm]))
        difference = np.frombuffer(together[i], np.uint8).astype(int) - np.frombuffer(
            alone.tokens.confidence, np.uint8
        )
        assert np.abs(difference).max(initial=0) <= 1


def test_a_token_starts_before_a_pause_if_only_rounding_keeps_its_level_unreached() -> None:
    """FunASR sums in single precision, and reaches it."""
    import torch

    from dropscribe.engine.models.paraformer.cif import FIRE, Timestamps

    for missing, first in ((1.4e-7, 1), (1e-4, 12)):
        reached = FIRE - missing
        weights = [0.5, reached - 0.5, *[0.0] * 10, 1.0, 2.0 - reached]
        alpha = torch.tensor([weights], dtype=torch.float64)
        fires = Timestamps.fires(alpha, torch.tensor([3]), torch.tensor([2]), 2)
        assert fires[0, 0].item() == first


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    """FunASR would keep random values for missing parameters and only print a message."""
    import torch

    from dropscribe.engine.models.loading import load

    folder = tmp_path / "half"
    shutil.copytree(MINI, folder)
    weights = torch.load(folder / "model.pt", weights_only=True)
    kept = dict(itertools.islice(weights.items(), len(weights) // 2))
    torch.save(kept, folder / "model.pt")
    with pytest.raises(EngineError, match=r"model\.pt lacks \d+ of the model's parameters"):
        load(folder, torch.device("cpu"), 1)


def test_a_damaged_directory_is_reported_with_its_path(tmp_path: Path) -> None:
    import torch

    from dropscribe.engine.models.loading import load

    folder = tmp_path / "spoilt"
    shutil.copytree(MINI, folder)
    (folder / "model.pt").write_bytes(b"not weights")
    with pytest.raises(EngineError) as caught:
        load(folder, torch.device("cpu"), 1)
    assert caught.value.path == folder
    (folder / "config.yaml").write_text("model: [")
    with pytest.raises(EngineError, match="configuration cannot be read"):
        load(folder, torch.device("cpu"), 1)


def test_a_missing_device_is_refused_and_not_replaced_by_the_cpu() -> None:
    import torch

    from dropscribe.engine.models.loading import choose_device

    assert choose_device("cpu").type == "cpu"
    missing = f"cuda:{torch.cuda.device_count() + 1}"
    with pytest.raises(EngineError) as caught:
        choose_device(missing)
    assert missing in caught.value.operation
    assert caught.value.remedy
