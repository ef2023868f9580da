"""Cluster the embeddings of a recording into speakers: average linkage by cosine similarity (pure).

The number of speakers is found by the linkage's threshold, or given. Nothing is drawn at random: the same embeddings
give the same labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Embeddings = NDArray[np.float32]  #: (windows, size), of unit length
Labels = NDArray[np.int64]

#: Two clusters are one speaker if the mean cosine between their windows is at least this (distance 0.60). Windows of one
#: speaker have 0.5 to 0.7, those of two −0.15 to 0.25.
LEAST_MEAN_COSINE = 0.40
#: Speakers whose centres have at least this cosine are one (FunASR's `merge_thr`).
SAME_CENTRE = 0.78
#: A speaker of less speech than this, in seconds or as a share of all, must be clearly another one than each of the
#: others: its centre has less than this cosine to theirs. Else it is taken for a mixture of two voices.
LITTLE_S = 4.0
LITTLE_SHARE = 0.03
STRANGER = 0.45
#: Most windows that are linked, evenly spaced over the recording; the others go to the nearest centre. The time of the
#: linkage grows with the square of this.
MOST_LINKED = 800
#: A cluster below this share of the windows is no speaker: its windows hold two voices, or noise.
LEAST_SHARE = 0.005
#: Windows from which on a speaker needs two windows, and three.
PAIRS_FROM = 10
THREES_FROM = 60
#: Rounds of giving each window to the nearest centre.
REFINEMENTS = 3
#: Windows compared with the centres at a time: bounds the memory.
CHUNK = 65_536


def cluster(embeddings: Embeddings, seconds: NDArray[np.float64], speakers: int = 0) -> Labels:
    """Label of each window, 0 to k - 1 by first appearance.

    `seconds`: speech that each window stands for. `speakers`: their number, or 0 to find it; fewer are found if there are
    fewer windows.
    """
    count = len(embeddings)
    if count == 0 or speakers == 1:
        return np.zeros(count, np.int64)
    chosen = np.arange(count)
    if count > MOST_LINKED:
        chosen = np.linspace(0, count - 1, MOST_LINKED).round().astype(np.int64)
    linked = embeddings[chosen]
    merges = link(linked)
    if speakers:
        centres = centres_of(linked, _given_number(merges, len(linked), speakers))
    else:
        groups = _by_threshold(merges, len(linked))
        heard = np.zeros(groups.max() + 1)
        np.add.at(heard, groups[groups >= 0], seconds[chosen][groups >= 0] * count / len(chosen))
        centres = _distinct(centres_of(linked, groups), heard)
    labels = _nearest(embeddings, centres)
    for _ in range(REFINEMENTS):
        if len(np.unique(labels)) < len(centres):
            break
        centres = centres_of(embeddings, labels)
        again = _nearest(embeddings, centres)
        if np.array_equal(again, labels):
            break
        labels = again
    return _compact(labels)


def centres_of(embeddings: NDArray[np.floating], labels: Labels) -> NDArray[np.float64]:
    """Mean direction of the windows of each label, (labels, size), of unit length; windows labelled -1 do not count."""
    centres = np.zeros((int(labels.max(initial=-1)) + 1, embeddings.shape[1]))
    for label in range(len(centres)):
        centres[label] = embeddings[labels == label].sum(axis=0, dtype=np.float64)
    return centres / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)


@dataclass(frozen=True, slots=True)
class Merge:
    """Step of a linkage: clusters `first` and `second` become one, with a new number; windows are clusters 0 to n - 1."""

    first: int
    second: int
    cosine: float  #: mean over all pairs of windows


def link(embeddings: Embeddings) -> list[Merge]:
    """Average linkage of unit vectors, n - 1 merges by falling similarity; merge k makes cluster n + k.

    In each round all pairs that are each other's nearest are merged: average linkage is reducible, so the result is that
    of merging one pair at a time (Murtagh, "A survey of recent advances in hierarchical clustering algorithms", 1983). The
    mean cosine of two clusters is the product of their sums, divided by both sizes.
    """
    count = len(embeddings)
    sums, sizes = embeddings.copy(), np.ones(count, np.float32)
    names = np.arange(count)
    found: list[Merge] = []
    while len(names) > 1:
        cosine = sums @ sums.T
        cosine /= sizes
        cosine /= sizes[:, None]
        # The two halves of a product may differ in the last bit.
        np.maximum(cosine, cosine.T, out=cosine)
        np.fill_diagonal(cosine, -np.inf)
        nearest = cosine.argmax(axis=1)
        here = np.arange(len(names))
        first = here[(nearest[nearest] == here) & (here < nearest)]
        second = nearest[first]
        made = count + len(found) + np.arange(len(first))
        found += map(Merge, names[first].tolist(), names[second].tolist(), cosine[first, second].tolist())
        sums[first] += sums[second]
        sizes[first] += sizes[second]
        names[first] = made
        kept = np.ones(len(names), bool)
        kept[second] = False
        sums, sizes, names = sums[kept], sizes[kept], names[kept]
    return _ordered(found, count)


def _ordered(merges: list[Merge], count: int) -> list[Merge]:
    """Merges by falling similarity, with the clusters they make renumbered accordingly."""
    order = sorted(range(len(merges)), key=lambda i: -merges[i].cosine)
    new = list(range(count)) + [0] * len(merges)
    for place, i in enumerate(order):
        new[count + i] = count + place
    return [Merge(new[merges[i].first], new[merges[i].second], merges[i].cosine) for i in order]


def _by_threshold(merges: list[Merge], count: int) -> Labels:
    """Groups of at least `LEAST_MEAN_COSINE`; -1 for windows of groups that are too small."""
    steps = sum(merge.cosine >= LEAST_MEAN_COSINE for merge in merges)
    return _without_small(_cut(merges, count, steps), _least(count))


def _given_number(merges: list[Merge], count: int, speakers: int) -> Labels:
    """As few groups as contain `speakers` large enough ones; the size is lowered until there are that many."""
    best = _cut(merges, count, max(0, count - speakers))
    for least in range(_least(count), 0, -1):
        sizes = _significant(merges, count, least)
        fitting = [steps for steps, groups in enumerate(sizes) if groups == speakers]
        if fitting:
            return _without_small(_cut(merges, count, fitting[-1]), least)
    return best


def _significant(merges: list[Merge], count: int, least: int) -> list[int]:
    """Number of groups of at least `least` windows after 0, 1, … merges."""
    sizes = [1] * count
    groups = count if least == 1 else 0
    found = [groups]
    for merge in merges:
        one, other = sizes[merge.first], sizes[merge.second]
        sizes.append(one + other)
        groups += (one + other >= least) - (one >= least) - (other >= least)
        found.append(groups)
    return found


def _cut(merges: list[Merge], count: int, steps: int) -> Labels:
    """Groups after the first `steps` merges."""
    parent = list(range(count + steps))
    for made, merge in enumerate(merges[:steps], start=count):
        parent[merge.first] = parent[merge.second] = made
    root = list(range(count + steps))
    for name in range(count + steps - 1, -1, -1):
        root[name] = name if parent[name] == name else root[parent[name]]
    return _compact(np.array(root[:count], np.int64))


def _least(count: int) -> int:
    """Fewest windows of a speaker among `count`."""
    fewest = 1 if count < PAIRS_FROM else 2 if count < THREES_FROM else 3
    return max(fewest, int(np.ceil(count * LEAST_SHARE)))


def _without_small(labels: Labels, least: int) -> Labels:
    sizes = np.bincount(labels)
    if sizes.max() < least:
        # Nothing but small groups: the largest one is a speaker.
        least = int(sizes.max())
        return np.where(labels == sizes.argmax(), 0, -1)
    new = np.where(sizes >= least, np.cumsum(sizes >= least) - 1, -1)
    return new[labels]


def _distinct(centres: NDArray[np.float64], heard: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centres of different speakers; `heard`: seconds of speech of each.

    The nearest two are merged until none are as near as `SAME_CENTRE`. Then those of little speech that resemble another
    one are left out, the least first.
    """
    while len(centres) > 1:
        cosine = _cosines(centres)
        one, other = sorted(divmod(int(cosine.argmax()), len(centres)))
        if cosine[one, other] < SAME_CENTRE:
            break
        joined = centres[one] * heard[one] + centres[other] * heard[other]
        centres[one] = joined / np.linalg.norm(joined)
        heard[one] += heard[other]
        centres, heard = np.delete(centres, other, axis=0), np.delete(heard, other)
    little_s = max(LITTLE_S, LITTLE_SHARE * float(heard.sum()))
    while len(centres) > 1:
        doubtful = (heard < little_s) & (_cosines(centres).max(axis=1) >= STRANGER)
        if not doubtful.any():
            break
        least = int(np.where(doubtful, heard, np.inf).argmin())
        centres, heard = np.delete(centres, least, axis=0), np.delete(heard, least)
    return centres


def _cosines(centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each two centres; -1 on the diagonal."""
    cosine = centres @ centres.T
    np.fill_diagonal(cosine, -1.0)
    return cosine


def _nearest(embeddings: Embeddings, centres: NDArray[np.float64]) -> Labels:
    narrow = centres.astype(np.float32).T
    parts = (embeddings[at : at + CHUNK] for at in range(0, len(embeddings), CHUNK))
    return np.concatenate([(part @ narrow).argmax(axis=1) for part in parts])


def _compact(labels: Labels) -> Labels:
    """Labels renumbered by first appearance, without gaps."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[inverse]
