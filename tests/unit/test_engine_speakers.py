"""Windows of a segment, clusters of embeddings, and the speaker of each token."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dropscribe.engine.models.speakers.clustering import Labels, centres_of, cluster, link
from dropscribe.engine.models.speakers.turns import Span, speakers_of_tokens
from dropscribe.engine.models.speakers.windows import (
    LEAST_REST,
    SHORTEST,
    STEP,
    WINDOW,
    first_windows,
    windows_between,
)
from tests.support.voices import Conversation, conversation

STEP_S = STEP / 100


def clusters(said: Conversation, speakers: int = 0) -> Labels:
    return cluster(said.embeddings, np.full(len(said.embeddings), STEP_S), speakers)


def confusion(said: Conversation, labels: Labels) -> float:
    """Share of the windows of one voice that are not in the cluster of most of its speaker's windows."""
    pure = ~said.mixed
    right = sum(
        np.bincount(labels[pure & (said.speakers == one)]).max(initial=0)
        for one in set(said.speakers.tolist())
    )
    return 1 - float(right) / int(pure.sum())


@pytest.mark.parametrize("speakers", range(1, 9))
def test_the_number_of_speakers_is_found(speakers: int) -> None:
    right = 0
    for seed in range(4):
        said = conversation(seed, speakers, 60 * speakers)
        labels = clusters(said)
        right += labels.max() + 1 == speakers
        assert confusion(said, labels) < 0.03
    assert right >= 3


@pytest.mark.parametrize(("speakers", "windows"), [(1, 4), (1, 20), (2, 12), (2, 20), (3, 30), (4, 40)])
def test_short_talks_have_the_right_number_of_speakers(speakers: int, windows: int) -> None:
    talks = [conversation(seed, speakers, windows, longest_turn=5, mixed=0.0) for seed in range(10)]
    right = sum(clusters(t).max() + 1 == len(set(t.speakers.tolist())) for t in talks)
    assert right >= 9


@pytest.mark.parametrize("asked", [1, 2, 3, 5])
def test_a_given_number_of_speakers_is_kept(asked: int) -> None:
    for seed, there in ((1, 2), (2, 3), (3, 5)):
        assert clusters(conversation(seed, there, 200), asked).max() + 1 == asked


def test_fewer_windows_than_speakers_asked_for() -> None:
    assert clusters(conversation(1, 1, 1), 4).tolist() == [0]
    assert clusters(conversation(1, 2, 2, longest_turn=1, mixed=0.0), 4).max() <= 1


def test_no_window_has_no_label() -> None:
    assert len(cluster(np.zeros((0, 192), np.float32), np.zeros(0))) == 0


def test_a_day_is_clustered_by_a_part_of_its_windows() -> None:
    said = conversation(7, 5, 20_000)
    labels = clusters(said)
    assert labels.max() + 1 == 5
    assert confusion(said, labels) < 0.03


def test_the_same_windows_have_the_same_labels() -> None:
    said = conversation(3, 4, 1500)
    assert np.array_equal(clusters(said), clusters(said))


@given(seed=st.integers(0, 50), speakers=st.integers(1, 4), count=st.integers(1, 70), asked=st.integers(0, 5))
def test_labels_have_no_gaps_and_begin_with_the_first_window(
    seed: int, speakers: int, count: int, asked: int
) -> None:
    labels = clusters(conversation(seed, speakers, count), asked)
    first = [labels.tolist().index(label) for label in range(labels.max() + 1)]
    assert first == sorted(first)
    assert len(labels) == count


def test_a_linkage_merges_by_falling_mean_cosine() -> None:
    embeddings = conversation(5, 3, 60).embeddings
    merges = link(embeddings)
    members = {i: [i] for i in range(60)}
    for step, merge in enumerate(merges):
        one, other = members[merge.first], members[merge.second]
        mean = (embeddings[one] @ embeddings[other].T).mean()
        assert merge.cosine == pytest.approx(mean, abs=1e-4)
        members[60 + step] = one + other
    assert [m.cosine for m in merges] == sorted((m.cosine for m in merges), reverse=True)
    assert sorted(members[118]) == list(range(60))


def test_centres_are_unit_vectors_of_their_windows() -> None:
    said = conversation(5, 2, 40)
    centres = centres_of(said.embeddings, said.speakers)
    assert np.allclose(np.linalg.norm(centres, axis=1), 1)
    own = said.embeddings[said.speakers == 1].mean(axis=0)
    assert np.allclose(centres[1], own / np.linalg.norm(own), atol=1e-6)


@given(frames=st.integers(0, 6100))
def test_windows_cover_a_segment(frames: int) -> None:
    starts = first_windows(frames)
    if frames < SHORTEST:
        assert starts == []
        return
    assert starts[0] == 0
    assert all(0 < b - a <= STEP for a, b in pairwise(starts))
    assert starts[-1] + WINDOW <= max(frames, WINDOW)
    assert frames - (starts[-1] + WINDOW) < LEAST_REST


def test_a_window_is_placed_between_neighbours_that_differ() -> None:
    angles = np.arccos([1.0, 0.4, 0.4, 0.4, 0.4]).cumsum()
    # The second and third are alike; the third and fourth overlap already; the fifth is of another segment.
    angles[2:] -= np.arccos(0.4) - np.arccos(0.7)
    voices = np.stack((np.cos(angles), np.sin(angles)), axis=1).astype(np.float16)
    starts, segments = windows_between(np.array([0, 150, 300, 350, 0]), np.array([0, 0, 0, 0, 1]), voices)
    assert (starts.tolist(), segments.tolist()) == ([75], [0])
    assert windows_between(starts[:0], segments[:0], voices[:0])[0].tolist() == []


def labelled(*labels: int) -> NDArray[np.int64]:
    return np.array(labels, np.int64)


def test_a_token_has_the_speaker_of_its_own_midpoint() -> None:
    one = Span(0, 6000, 0, (750, 2250, 3750, 5250))
    found, order = speakers_of_tokens([one], labelled(4, 4, 2, 2), [100, 2900, 3100, 5900])
    assert list(found) == [1, 1, 2, 2]
    assert order == [4, 2]


def test_a_turn_that_is_too_short_goes_to_the_nearer_neighbour() -> None:
    spans = [
        Span(0, 3000, 0, (750, 2250)),
        Span(3100, 3600, 2, (3350,)),
        Span(5000, 8000, 3, (5750, 7250)),
    ]
    found, _ = speakers_of_tokens(spans, labelled(0, 0, 1, 2, 2), [1000, 3300, 6000])
    assert list(found) == [1, 1, 2]
    late = [spans[0], Span(4400, 4900, 2, (4650,)), spans[2]]
    found, _ = speakers_of_tokens(late, labelled(0, 0, 1, 2, 2), [1000, 4600, 6000])
    assert list(found) == [1, 2, 2]


def test_tokens_outside_all_windows_belong_to_the_nearest() -> None:
    spans = [Span(1000, 3000, 0, (1750,)), Span(6000, 8000, 1, (6750,))]
    found, _ = speakers_of_tokens(spans, labelled(0, 1), [200, 3100, 5900, 9000])
    assert list(found) == [1, 1, 2, 2]


def test_speakers_are_numbered_by_their_first_token() -> None:
    spans = [Span(0, 2000, 0, (1000,)), Span(3000, 6000, 1, (3750, 5250))]
    found, order = speakers_of_tokens(spans, labelled(0, 1, 2), [4000, 5500])
    assert list(found) == [1, 2]
    assert order == [1, 2], "the first has said no word"


def test_without_any_window_all_words_are_of_one_speaker() -> None:
    found, order = speakers_of_tokens([], labelled(), [100, 200])
    assert list(found) == [1, 1]
    assert order == []
