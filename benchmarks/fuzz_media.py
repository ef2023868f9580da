"""Fuzz the decoders: run mutants of every format through a real decoder pool.

    .venv/bin/python benchmarks/fuzz_media.py [--count 100000] [--first 0] [--seed 1] [--corpus DIR] [--keep DIR] [--out FILE.json]

A mutant depends only on its number and the seed, so a run can be continued (--first; the report has the next number)
and a finding reproduced with `--first N --count 1`. Mutants are made from a short recording in each format that
FFmpeg and libsndfile can write, and from the files of --corpus (recordings of at most 1 MB).

The report counts the results of orders. Findings are: an order without an end or with two; a lost slot of shared
memory; a failure of the pool; a decoder that crashed, hung or raised an unexpected error; a mutant that is only
truncated, in a format that declares its length, without being reported as truncated. Findings are printed with their
numbers, their files are kept in --keep, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import surroundings

from dropscribe.config import MediaSettings
from dropscribe.media.container.inspect import inspect
from dropscribe.media.pool import DecoderPool
from dropscribe.media.protocol import DecodeDone, DecodeFailed, DecodeOrder, PcmReady, SlotWanted
from dropscribe.pipeline.local.arena import SLOT_BYTES, Arena
from tests.support import recordings

#: Bytes at the start of a file to which most mutations apply, since most headers are there.
HEAD = 600
#: Critical values for sizes and counts in headers.
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
#: Expected results of an order; any other is a finding.
ANSWERS = frozenset({"unreadable_media", "no_audio", "media_limit"})
#: Share of a file that must be missing for a truncation to be detectable: ends are often padding, tags or indexes.
CUT_SHARE = 0.1
#: Time after which an order counts as never ending, seconds; a decoder that stalls is stopped long before.
DEADLINE_S = 120.0
#: Largest file of a corpus that is used, bytes.
LARGEST = 1_000_000


@dataclass(frozen=True, slots=True)
class Seed:
    """An undamaged recording to mutate. `tells`: its container declares its length."""

    name: str
    suffix: str
    data: bytes
    tells: bool


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged file. `cut`: it is only truncated."""

    number: int
    seed: Seed
    how: str
    data: bytes
    cut: bool


class Fuzzer:
    """Run mutants through a decoder pool; a context manager."""

    def __init__(self, seeds: list[Seed], options: argparse.Namespace, folder: Path) -> None:
        self.seeds, self.options, self.folder = seeds, options, folder
        self.arena = Arena(120)
        self.slots = self.arena.free
        settings = MediaSettings.model_validate({"max_hours": 0.1, "stall_s": 10.0})
        self.pool = DecoderPool(
            self.arena.fd, SLOT_BYTES, workers=options.decoders, settings=settings, clock=time.monotonic
        )
        self.running: dict[int, tuple[Mutant, Path, float]] = {}
        self.ends: Counter[str] = Counter()
        self.findings: list[str] = []
        self.ended: set[int] = set()
        self.slowest_s = 0.0

    def start(self, number: int) -> None:
        mutant = mutated(self.seeds, self.options.seed, number)
        path = self.folder / f"{number}{mutant.seed.suffix}"
        path.write_bytes(mutant.data)
        self.running[number] = (mutant, path, time.monotonic())
        self.pool.start(DecodeOrder(number, path, None), self.arena.take(2), time.monotonic())

    def turn(self) -> None:
        wait(self.pool.filenos(), 0.2)
        for event in self.pool.poll(time.monotonic()):
            match event:
                case PcmReady():
                    self.arena.put(event.offset)
                case SlotWanted():
                    self.pool.give(event.ticket, self.arena.take(2))
                case DecodeDone() | DecodeFailed():
                    self.end(event)
        for number, (mutant, path, since) in list(self.running.items()):
            if time.monotonic() - since > DEADLINE_S:
                self.find(mutant, path, "did not end")
                for offset in self.pool.abort(number):
                    self.arena.put(offset)
                del self.running[number]

    def end(self, event: DecodeDone | DecodeFailed) -> None:
        for offset in event.unused if isinstance(event, DecodeDone) else event.lost:
            self.arena.put(offset)
        if event.ticket not in self.running:
            self.findings.append(f"{event.ticket}: ended twice")
            return
        mutant, path, since = self.running.pop(event.ticket)
        self.slowest_s = max(self.slowest_s, time.monotonic() - since)
        if isinstance(event, DecodeFailed):
            self.ends[event.code] += 1
            hung = event.code == "media_limit" and "brought nothing" in event.reason
            if hung or event.code not in ANSWERS:
                self.find(mutant, path, f"{event.code}: {event.reason}")
        else:
            self.ends["cut" if event.facts.truncated else "done"] += 1
            if mutant.cut and mutant.seed.tells and event.facts.truncated is None:
                self.find(mutant, path, f"not reported as cut: {event.facts}")
        path.unlink(missing_ok=True)

    def find(self, mutant: Mutant, path: Path, what: str) -> None:
        said = f"{mutant.number} ({mutant.seed.name}, {mutant.how}): {what}"
        print(said, file=sys.stderr, flush=True)
        self.findings.append(said)
        if self.options.keep:
            self.options.keep.mkdir(parents=True, exist_ok=True)
            (self.options.keep / path.name).write_bytes(mutant.data)

    def run(self, numbers: range) -> int:
        """Run all `numbers`; returns the first that was not started (one past the last, unless interrupted)."""
        upcoming = numbers.start
        try:
            while upcoming < numbers.stop or self.running:
                while upcoming < numbers.stop and self.pool.idle():
                    self.start(upcoming)
                    upcoming += 1
                self.turn()
        except KeyboardInterrupt:
            upcoming = min(self.running, default=upcoming)
        else:
            lost = self.slots - self.arena.free
            if lost:
                self.findings.append(f"{lost} slots were lost")
        finally:
            self.pool.close()
            self.arena.close()
        return upcoming


def main() -> None:
    parser = surroundings.parser(__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decoders", type=int, default=2)
    parser.add_argument("--corpus", type=Path, help="a folder of sound recordings to damage as well")
    parser.add_argument("--keep", type=Path, help="a folder for the files that were findings")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dropscribe-fuzz-") as folder:
        seeds = sound(Path(folder), options.corpus)
        fuzzer = Fuzzer(seeds, options, Path(folder))
        upcoming = fuzzer.run(range(options.first, options.first + options.count))
    figures = {
        "seeds": len(seeds),
        "mutants": sum(fuzzer.ends.values()),
        "next": upcoming,
        "ends": dict(fuzzer.ends.most_common()),
        "slowest_s": round(fuzzer.slowest_s, 2),
        "wall_s": round(time.monotonic() - began, 1),
        "findings": fuzzer.findings,
    }
    surroundings.report("fuzz_media", options, figures)
    sys.exit(1 if fuzzer.findings else 0)


def sound(folder: Path, corpus: Path | None) -> list[Seed]:
    """One second in every format, and the files of `corpus`, by name."""
    seeds = []
    for kind in recordings.KINDS:
        path = recordings.make(folder, kind, 1.0)
        seeds.append(seed_of(path, f"{kind[1]}-{kind[2]}"))
        path.unlink()
    files = sorted(corpus.iterdir()) if corpus else []
    seeds += [seed_of(f, f.name) for f in files if f.is_file() and 0 < f.stat().st_size <= LARGEST]
    return seeds


def seed_of(path: Path, name: str) -> Seed:
    check = inspect(path)
    return Seed(name, path.suffix, path.read_bytes(), tells=check.whole is True)


def mutated(seeds: list[Seed], seed: int, number: int) -> Mutant:
    """Mutant of a number; deterministic for the same seeds."""
    rng = np.random.default_rng([seed, number])
    chosen = seeds[int(rng.integers(len(seeds)))]
    how = list(WAYS)[int(rng.integers(len(WAYS)))]
    data = WAYS[how](chosen.data, rng, seeds)
    while how not in ("cut", "splice") and rng.random() < 0.3:
        data = flip(data, rng, seeds)
    cut = how == "cut" and len(data) < len(chosen.data) * (1 - CUT_SHARE)
    return Mutant(number, chosen, how, data, cut)


def place(data: bytes, rng: np.random.Generator) -> int:
    reach = min(len(data), HEAD) if rng.random() < 0.7 else len(data)
    return int(rng.integers(max(1, reach)))


def stretch(data: bytes, rng: np.random.Generator) -> tuple[int, int]:
    start = place(data, rng)
    return start, min(len(data), start + 1 + int(rng.integers(1 << int(rng.integers(1, 15)))))


def flip(data: bytes, rng: np.random.Generator, _: list[Seed]) -> bytes:
    changed = bytearray(data)
    for _number in range(1 << int(rng.integers(7))):
        if changed:
            changed[place(data, rng)] = int(rng.integers(256))
    return bytes(changed)


def extreme(data: bytes, rng: np.random.Generator, _: list[Seed]) -> bytes:
    changed = bytearray(data)
    for _number in range(int(rng.integers(1, 4))):
        width = int(rng.choice([2, 4, 8]))
        value = EXTREMES[int(rng.integers(len(EXTREMES)))] & ((1 << 8 * width) - 1)
        at = place(data, rng)
        changed[at : at + width] = value.to_bytes(width, "big" if rng.random() < 0.5 else "little")
    return bytes(changed)


def cut(data: bytes, rng: np.random.Generator, _: list[Seed]) -> bytes:
    return data[: 1 + int(rng.integers(len(data)))]


def drop(data: bytes, rng: np.random.Generator, _: list[Seed]) -> bytes:
    start, end = stretch(data, rng)
    return data[:start] + data[end:]


def double(data: bytes, rng: np.random.Generator, _: list[Seed]) -> bytes:
    start, end = stretch(data, rng)
    return data[:end] + data[start:end] * int(rng.integers(1, 9)) + data[end:]


def blank(data: bytes, rng: np.random.Generator, _: list[Seed]) -> bytes:
    start, end = stretch(data, rng)
    return data[:start] + bytes([int(rng.choice([0, 255]))]) * (end - start) + data[end:]


def scatter(data: bytes, rng: np.random.Generator, _: list[Seed]) -> bytes:
    start, end = stretch(data, rng)
    return data[:start] + rng.bytes(end - start) + data[end:]


def splice(data: bytes, rng: np.random.Generator, seeds: list[Seed]) -> bytes:
    other = seeds[int(rng.integers(len(seeds)))].data
    return data[: place(data, rng)] + other[place(other, rng) :]


WAYS = {
    "flip": flip, "extreme": extreme, "cut": cut, "drop": drop, "double": double, "blank": blank, "scatter": scatter,
    "splice": splice,
}  # fmt: skip


if __name__ == "__main__":
    main()
