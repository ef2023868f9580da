"""A folder is replaced by a link between any two system calls: the target of the link is neither read nor written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dropscribe import files
from dropscribe.config import Folder
from dropscribe.errors import DropscribeError
from dropscribe.files import FileSignature, content_hash
from dropscribe.intake.names import Names
from dropscribe.intake.scan import Scan, examine, walk
from dropscribe.intake.settling import Refuse
from dropscribe.intake.writer_probe import probe
from dropscribe.media.container.inspect import ContainerCheck, inspect
from dropscribe.media.decode import Limits, decode
from dropscribe.media.sources.source import SourceFacts
from dropscribe.service.publishing.directory_cache import DirectoryCache
from dropscribe.transcript.placing.publish import PendingFile, publish, sweep, temporary_path, withdraw
from dropscribe.transcript.placing.standing import standing_at
from dropscribe.transcript.types import MediaFacts, Part
from tests.support.daemon_process import write_speech
from tests.support.swapping import swap, with_swap

OURS, SECRET = b"our transcript", b"a secret as long"[:14]


@dataclass
class Place:
    """`inbox/d/e/talk.wav`, and a `secret` folder with the same names in it."""

    root: Path

    def __post_init__(self) -> None:
        for name, seconds in (("inbox/d/e", 1.0), ("secret/e", 2.0), ("secret", 2.0)):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            write_speech(self.root / name / "talk.wav", seconds=seconds)
        for name in ("secret/e", "secret"):
            (self.root / name / "talk.txt").write_bytes(OURS)
            (self.root / name / "secret.txt").write_bytes(SECRET)
            temporary_path(self.root / name / "other.txt").write_bytes(b"half")
        self.secret = self.contents("secret")
        status = self.recording.stat()
        self.signature = (status.st_size, status.st_mtime_ns, status.st_ino)

    @property
    def inbox(self) -> Path:
        return self.root / "inbox"

    @property
    def recording(self) -> Path:
        return self.inbox / "d/e/talk.wav"

    @property
    def transcript(self) -> Path:
        return self.recording.with_suffix(".txt")

    def contents(self, name: str) -> dict[str, bytes]:
        folder = self.root / name
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class _Samples:
    """A sink that discards samples."""

    def opened(self, facts: SourceFacts, declared_s: float | None) -> None:
        """Do nothing."""

    def part(self, part: Part, at: int, count: int) -> None:
        """Do nothing."""

    def write(self, pcm: NDArray[np.int16]) -> None:
        """Do nothing."""


def walked(place: Place) -> Scan:
    def enter(_directory: str, _descriptor: int) -> Refuse | None:
        return None

    root = str(place.inbox)
    return walk(root, root, Names(Folder(path=place.inbox)), {}, enter, recursive=True)


def pending(place: Place, name: str = "talk.txt", **values: Any) -> PendingFile:
    return PendingFile(place.transcript.with_name(name), OURS, root=place.inbox, **values)


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


#: Function on a folder, and a check of its result if it succeeds.
WORK: dict[str, tuple[Callable[[Place], object], Callable[[Place, Any], bool]]] = {
    "examine": (
        lambda p: examine(str(p.recording), str(p.inbox)),
        lambda p, came: came in (None, p.signature),
    ),
    "walk": (walked, lambda p, came: set(came.found.values()) <= {p.signature}),
    "probe": (lambda p: probe(p.recording, p.inbox), lambda _, __: True),
    "inspect": (
        lambda p: inspect(p.recording, p.inbox),
        lambda p, came: isinstance(came, ContainerCheck) and came.present_bytes in (0, p.signature[0]),
    ),
    "hash": (
        lambda p: content_hash(p.recording, p.inbox, FileSignature(*p.signature)),
        lambda p, came: came in {sha(f.read_bytes()) for f in p.inbox.rglob("talk.wav")},
    ),
    "decode": (
        lambda p: decode(p.recording, FileSignature(*p.signature), Limits(1), _Samples(), p.inbox),
        lambda _, came: isinstance(came, MediaFacts) and came.duration_ms == 1000,
    ),
    "decode anything": (
        lambda p: decode(p.recording, None, Limits(1), _Samples(), p.inbox),
        lambda _, came: isinstance(came, MediaFacts) and came.duration_ms == 1000,
    ),
    "read a name of ours": (
        lambda p: standing_at(p.transcript.with_name("secret.txt"), p.inbox, {sha(SECRET): len(SECRET)}),
        lambda _, came: came is None,
    ),
    "list": (
        lambda p: DirectoryCache().like(p.inbox, p.recording.parent, "secret.wav"),
        lambda _, came: came == set(),
    ),
    "publish": (lambda p: publish([pending(p), pending(p, "more.txt")]), lambda _, came: came is True),
    "publish into a new folder": (
        lambda p: publish([PendingFile(p.recording.parent / "x/y/talk.txt", OURS, root=p.inbox)]),
        lambda _, came: came is True,
    ),
    "replace": (
        lambda p: (
            publish([pending(p)]) and publish([pending(p, replaces=sha(OURS), replaces_size=len(OURS))])
        ),
        lambda _, came: came is True,
    ),
    "withdraw": (
        lambda p: withdraw(p.transcript, {sha(OURS): len(OURS)}, p.inbox),
        lambda _, came: came in (True, False),
    ),
    "sweep": (lambda p: sweep(p.recording.parent, p.inbox), lambda _, came: came == 0),
}


@pytest.fixture(params=["openat2", "stepwise"], autouse=True)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "openat2" and not files._has_openat2():
        pytest.skip("this kernel has no openat2")
    monkeypatch.setattr(files, "_has_openat2", lambda: request.param == "openat2")


@pytest.mark.parametrize("name", WORK)
@pytest.mark.parametrize("swapped", ["d", "d/e"])
def test_folder_swapped_at_every_system_call(tmp_path: Path, name: str, swapped: str) -> None:
    work, fine = WORK[name]
    nth = 0
    while True:
        nth += 1
        place = Place(tmp_path / str(nth))
        came, acted = with_swap(
            lambda: work(place),  # noqa: B023 - it is called before the next round
            nth,
            lambda: swap(place.inbox / swapped, place.root / "secret"),  # noqa: B023 - the same
        )
        assert place.contents("secret") == place.secret, f"before call {nth}"
        if isinstance(came, Exception):
            assert isinstance(came, DropscribeError | OSError), (nth, came)
        else:
            assert fine(place, came), (nth, came)
        if not acted:
            break
    assert nth > 2
    assert not isinstance(came, Exception), came
