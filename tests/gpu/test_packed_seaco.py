"""Hotwords in the half-precision packed path on CUDA change what they change in the fp32 padded path."""

# ruff: noqa: PLC0415 - torch takes seconds and warns at import: only where a test runs it

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from dropscribe.engine.core.interfaces import Pcm
from tests.support.engines import ON_GPU, segment
from tests.support.seaco import BRIM, FEW, MANY, ONE, Hotwords, pieces, random_seaco

pytestmark = ON_GPU

#: Tokens that half precision may turn, of random weights: best candidates lie close together.
MAY_DIFFER = 0.02
LISTS: tuple[Hotwords, ...] = ((), FEW, MANY, ONE, BRIM)


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    import torch

    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    from dropscribe.engine.models.loading import load

    return load(random_seaco(tmp_path_factory.mktemp("seaco")), torch.device("cuda:0"), 1)


def mixed() -> tuple[list[Pcm], list[Hotwords]]:
    """Every piece with every list, lists far apart, and one piece too short to say anything."""
    parts = [*product(pieces(), LISTS), (pieces()[0][:800], MANY)]
    return [p for p, _ in parts], [words for _, words in parts]


def encoded(forward: Any, loaded: Any) -> dict[Hotwords, Any]:
    from dropscribe.engine.models.text.vocabulary import vocabulary_of

    spelling = vocabulary_of(loaded).spelling
    lists = {words: [spelling.numbers_of(w) for w in words] for words in LISTS}
    return {words: forward.encode_hotwords(numbers) if words else None for words, numbers in lists.items()}


def test_fp16_hears_the_hotwords_that_fp32_hears(loaded: Any) -> None:
    import torch

    from dropscribe.engine.models.paraformer.forward import PaddedForward
    from dropscribe.engine.models.paraformer.packed_forward import PackedForward

    pcms, wanted = mixed()
    said = []
    with torch.inference_mode():
        for kind in (PaddedForward, PackedForward):
            forward: Any = kind(loaded.module, loaded.frontend, loaded.device)
            lists = encoded(forward, loaded)
            said.append(forward(pcms, [lists[words] for words in wanted]))
        plain = forward(pcms)
    exact, half = said
    assert [len(s.ids) for s in half] == [len(s.ids) for s in exact]
    for a, b in zip(half, exact, strict=True):
        assert a.frames == b.frames
        if a.ids:
            # One frame is 20 ms; a fire close to the border between two may fall into either.
            assert np.abs(np.array(a.fires) - np.array(b.fires)).max() <= 1
    assert different(half, exact) < MAY_DIFFER
    # Hotwords matter: else the packed path could leave them out.
    assert different(plain, exact) > 0.3


def different(one: list[Any], other: list[Any]) -> float:
    """Share of tokens in which they differ, place by place."""
    pairs = [p for a, b in zip(one, other, strict=True) for p in zip(a.ids, b.ids, strict=True)]
    return float(np.mean([x != y for x, y in pairs]))


def test_a_segment_gives_the_same_alone_and_among_others(loaded: Any) -> None:
    import torch

    from dropscribe.engine.models.paraformer.packed_forward import PackedForward

    forward = PackedForward(loaded.module, loaded.frontend, loaded.device)
    pcms, wanted = mixed()
    with torch.inference_mode():
        lists = encoded(forward, loaded)
        together = forward(pcms, [lists[words] for words in wanted])
        alone = [forward([p], [lists[words]])[0] for p, words in zip(pcms, wanted, strict=True)]
    # A product's last bit may depend on its shape, and half precision makes more of it than fp32 does.
    assert different(together, alone) < MAY_DIFFER / 2


def test_batches_under_way_do_not_mix_their_hotwords(loaded: Any) -> None:
    from dropscribe.engine.models.paraformer.recogniser import PipelinedParaformer

    recogniser = PipelinedParaformer(loaded)
    pcm = pieces()[1]
    batches = [
        [segment(pcm, b, i, hotwords=words) for i, words in enumerate(order)]
        for b, order in enumerate(((FEW, (), MANY), ((), ()), (MANY, ONE, FEW, ONE), (BRIM,)))
    ]
    handles = [recogniser.begin(b) for b in batches]
    said = [{h.index: h.text for h in recogniser.finish(h)} for h in handles]
    assert said == [{h.index: h.text for h in recogniser(b)} for b in batches]
