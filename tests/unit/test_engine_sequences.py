"""Sequences in a tensor: what a layer makes of each is what it makes of it alone, whichever way they lie."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dropscribe.engine.layers.linear import product as linear
from dropscribe.engine.layers.sequences import Joined, Padded
from dropscribe.engine.models.paraformer.joined_times import Block, JoinedTimestamps, blocks_of

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=9)
CHANNELS, HEADS, KERNEL, LEFT = 8, 2, 5, 3


def sequences(lengths: list[int], seed: int = 0) -> list[torch.Tensor]:
    chosen = torch.Generator().manual_seed(seed)
    return [torch.randn(n, CHANNELS, generator=chosen) for n in lengths]


def padded(own: list[torch.Tensor]) -> tuple[torch.Tensor, Padded]:
    keep = torch.arange(max(map(len, own)))[None] < torch.tensor([len(x) for x in own])[:, None]
    # Padding of any value: it must not matter.
    made = torch.full((*keep.shape, CHANNELS), 7.0)
    made[keep] = torch.cat(own)
    return made, Padded(keep)


@torch.inference_mode()
@given(LENGTHS)
@settings(max_examples=25)
def test_both_layouts_give_what_each_sequence_gives_alone(lengths: list[int]) -> None:
    own, asking = sequences(lengths), sequences([n + 1 for n in lengths], 1)
    taps = torch.randn(CHANNELS, 1, KERNEL, generator=torch.Generator().manual_seed(2))
    alone = torch.ones(1, 1, dtype=torch.bool)
    remembered, attended = [], []
    for x, q in zip(own, asking, strict=True):
        frames, tokens = (Padded(alone.expand(1, len(some))) for some in (x, q))
        remembered.append(frames.remember(x[None], taps, LEFT)[0])
        attended.append(tokens.attend(q[None], x[None], x[None], frames, HEADS)[0])

    x, frames = padded(own)
    q, tokens = padded(asking)
    by_padding = frames.remember(x, taps, LEFT), tokens.attend(q, x, x, frames, HEADS)
    joined, tokens_joined = Joined(lengths, KERNEL - 1), Joined([n + 1 for n in lengths], KERNEL - 1)
    x, q = joined.spread(torch.cat(own)), tokens_joined.spread(torch.cat(asking))
    by_joining = joined.remember(x, taps, LEFT), tokens_joined.attend(q, x, x, joined, HEADS)
    for i, (one, other) in enumerate(zip(remembered, attended, strict=True)):
        assert torch.allclose(by_padding[0][i, : len(one)], one, atol=1e-5)
        assert torch.allclose(by_padding[1][i, : len(other)], other, atol=1e-5)
        assert torch.equal(joined.of_each(by_joining[0])[i], one)
        assert torch.equal(tokens_joined.of_each(by_joining[1])[i], other)


@given(LENGTHS, st.booleans())
def test_every_step_of_a_direction_is_taken_once_and_in_order(lengths: list[int], backwards: bool) -> None:
    times = 3
    taken: list[int] = []
    blocks: list[Block] = list(blocks_of(lengths, times, backwards=backwards))
    assert sum(map(len, (b.sources for b in blocks))) == sum(s for b in blocks for s in b.sizes)
    for block in blocks:
        taken += block.goals.tolist()
    assert block.sizes == sorted(block.sizes, reverse=True)
    real = [goal for goal in taken if goal < times * sum(lengths)]
    assert sorted(real) == list(range(times * sum(lengths)))
    bounds = np.cumsum([0, *lengths]) * times
    for a, b in itertools.pairwise(bounds):
        own = [goal for goal in real if a <= goal < b]
        assert own == sorted(own, reverse=backwards)


@pytest.mark.parametrize("halved", [False, True])
@torch.inference_mode()
def test_the_recurrent_network_in_steps_over_all_segments_is_that_of_torch(
    halved: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not halved:
        monkeypatch.setattr(linear, "_fbgemm_agrees", lambda *_: False)
    torch.manual_seed(3)
    width, times = 32, 3

    class Predictor(torch.nn.Module):
        upsample_times, use_cif1_cnn, upsample_type = times, True, "cnn_blstm"
        smooth_factor2, noise_threshold2 = 0.25, 0.01

        def __init__(self) -> None:
            super().__init__()
            self.upsample_cnn = torch.nn.ConvTranspose1d(width, width, times, times)
            self.blstm = torch.nn.LSTM(width, width, 1, batch_first=True, bidirectional=True)
            self.cif_output2 = torch.nn.Linear(2 * width, 1)

    module = Predictor().eval()
    segments = [torch.randn(n, width) for n in (9, 1, 30, 12, 12, 4)]
    branch = JoinedTimestamps(module)
    made = branch.weights([len(s) for s in segments], [part(segments) for part in branch.parts])
    for segment, alpha in zip(segments, made, strict=True):
        wide = module.upsample_cnn(segment.t()[None]).transpose(1, 2)
        scores = module.cif_output2(module.blstm(wide)[0])[0, :, 0]
        expected = torch.relu(torch.sigmoid(scores) * 0.25 - 0.01)
        assert torch.allclose(alpha, expected, atol=1e-3 if halved else 1e-5)
