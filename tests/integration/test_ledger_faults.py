"""Storage failures at every write and sync of the database, temporary and permanent; a full disk at every size.

Each step of the ledger is either completely recorded or not at all; failed steps succeed when repeated, and at the
end the database equals one without failures.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dropscribe.errors import StorageError
from dropscribe.ledger.backend import open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import Claim, OutputIntent, SkippedFile
from dropscribe.ledger.sql.sqlite.db import driver
from tests.support import past_schemas
from tests.support.ledgers import FOLDER, LEASE_S, admission, claim_all, finish_of
from tests.support.syscall_faults import FaultyDisk

#: Step between tested limits of the file size, bytes; not a multiple of a page, so that some writes are partial.
LIMIT_STEPS = [24_000, pytest.param(6_000, marks=pytest.mark.soak)]
#: Bytes freed on a full file system in each step.
ROOM_STEPS = [20_480, pytest.param(8_192, marks=pytest.mark.soak)]
#: Every how many operations of the disk one fails: all of them in the long form; otherwise as many as meet each file and
#: each step of the ledger, and each revision of an upgrade.
STRIDES = [13, pytest.param(1, marks=pytest.mark.soak)]
STRIDES_OF_UPGRADES = [29, pytest.param(1, marks=pytest.mark.soak)]
STRIDES_OF_MAKING = [7, pytest.param(1, marks=pytest.mark.soak)]

Dump = dict[str, list[tuple[object, ...]]]


@dataclass
class Life:
    """A sequence of ledger calls in steps. A failed step may be repeated."""

    path: Path
    done: int = 0
    claims: dict[str, Claim] = field(default_factory=dict)
    ledger: Ledger | None = None

    def go(self) -> None:
        """Run the remaining steps; stop at the first that fails."""
        for step in self.steps()[self.done :]:
            step()
            self.done += 1

    def steps(self) -> list[Callable[[], object]]:
        return [
            self.open, self.admit, self.claim, self.renew, self.intend, self.partial, self.skip, self.finish,
            self.give_back, self.fail, self.gone, self.claim_again, self.finish_by_reference, self.replace,
            self.remove, self.forget, self.recover, self.close,
        ]  # fmt: skip

    def opened(self) -> Ledger:
        assert self.ledger is not None
        return self.ledger

    def held(self, name: str) -> tuple[int, int]:
        claim = self.claims[name]
        return claim.job_id, claim.generation

    def open(self) -> None:
        self.ledger = open_ledger(DatabaseLocation(self.path))

    def admit(self) -> None:
        self.opened().admit(
            [admission(f"{n}.wav", n) for n in "abcdefg"] + [admission("copy.wav", "a")], 10.0
        )

    def claim(self) -> None:
        self.claims.update({c.path.stem: c for c in claim_all(self.opened(), 100.0, limit=5)})

    def renew(self) -> None:
        assert self.opened().heartbeat([self.held(n) for n in "abcde"], 101.0, LEASE_S) == set()

    def intend(self) -> None:
        files = [OutputIntent(f, FOLDER / f"a.{f}", f"hash of {f}") for f in ("txt", "srt", "json")]
        assert self.opened().intend([(*self.held("a"), files)], 102.0) == []

    def partial(self) -> None:
        assert self.opened().intend_partial(self.held("b"), FOLDER / "b.partial.txt", "hash", (), 102.5)

    def skip(self) -> None:
        self.opened().skip([SkippedFile(FOLDER / "x.pdf", FOLDER, "extension", "no recording")], 103.0)

    def finish(self) -> None:
        assert self.opened().finish([finish_of(self.claims["a"], *["预算" * 20] * 6)], 104.0) == []

    def give_back(self) -> None:
        self.opened().release(
            *self.held("b"),
            105.0,
            not_before=900.0,
            refund=True,
            isolate=False,
            code="storage",
            reason="full",
        )

    def fail(self) -> None:
        self.opened().fail(*self.held("c"), 106.0, code="no_audio", reason="none", remedy="record again")

    def gone(self) -> None:
        job, generation = self.held("d")
        self.opened().cancel(job, 107.0, "gone", generation=generation)

    def claim_again(self) -> None:
        self.claims.update({c.path.stem: c for c in claim_all(self.opened(), 108.0)})

    def finish_by_reference(self) -> None:
        claim = self.claims["copy"]
        assert self.opened().finish([finish_of(claim, "预算", reference=claim.reference)], 109.0) == []

    def replace(self) -> None:
        self.opened().admit([admission("b.wav", "other")], 110.0)

    def remove(self) -> None:
        self.opened().cancel_gone(FOLDER / "b.wav", 111.0, "removed")

    def forget(self) -> None:
        self.opened().forget_partials(self.opened().partials())

    def recover(self) -> None:
        self.opened().recover(112.0)

    def close(self) -> None:
        """Close the ledger, which moves the write-ahead log into the database."""
        self.opened().close()


def dump(path: Path) -> Dump:
    """All rows of all tables, and what the two search indexes find."""
    with closing(driver().connect(str(path))) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        tables = connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT GLOB 'segment_*'"
            " AND name NOT GLOB 'recording_search*' AND name <> 'recording_terms' ORDER BY name"
        ).fetchall()
        rows = {t: sorted(connection.execute(f"SELECT * FROM {t}"), key=repr) for (t,) in tables}
        rows["found"] = connection.execute(
            "SELECT rowid FROM segment_search WHERE segment_search MATCH '预算预'"
        ).fetchall()
        rows["paths found"] = connection.execute(
            "SELECT rowid FROM recording_search WHERE recording_search MATCH 'wav'"
        ).fetchall()
    return rows


@pytest.fixture(scope="module")
def disk() -> Iterator[FaultyDisk]:
    with FaultyDisk() as faulty:
        yield faulty


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory if possible, since hundreds of databases are created."""
    memory = Path("/dev/shm")
    made = Path(tempfile.mkdtemp(prefix="ledger-faults-", dir=memory if os.access(memory, os.W_OK) else None))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty database, to be copied."""
    path = tmp_path_factory.mktemp("fresh") / "jobs.db"
    open_ledger(DatabaseLocation(path)).close()
    return path


@pytest.fixture(scope="module")
def undisturbed(fresh: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Dump]:
    """Content of the database after each step without failures."""
    life = Life(Path(shutil.copy(fresh, tmp_path_factory.mktemp("undisturbed"))))
    after = [dump(life.path)]
    for step in life.steps():
        step()
        after.append(dump(life.path))
    assert len(after[-1]["segments"]) == len(after[-1]["found"]) == 6
    return after


def new_life(fresh: Path, folder: Path) -> Life:
    """A `Life` in a new folder; removes the previous folder."""
    for before in folder.glob("life-*"):
        shutil.rmtree(before)
    return Life(Path(shutil.copy(fresh, tempfile.mkdtemp(prefix="life-", dir=folder))))


def understood(error: BaseException | None) -> None:
    """Assert that the error has path, reason and remedy, and is retryable."""
    assert isinstance(error, StorageError), error
    assert error.retryable
    assert error.operation
    assert error.path
    assert error.remedy


def goes_on(life: Life, undisturbed: list[Dump]) -> None:
    """Assert that acknowledged steps are recorded and failed ones are not, and that the remaining steps succeed."""
    assert dump(life.path) == undisturbed[life.done]
    life.go()
    assert dump(life.path) == undisturbed[-1]


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize(
    ("error", "lasting"),
    [(errno.EIO, False), (errno.ENOSPC, True)],
    ids=["one error", "full from then on"],
)
def test_every_write_and_every_sync_may_fail(
    disk: FaultyDisk,
    fresh: Path,
    undisturbed: list[Dump],
    folder: Path,
    stride: int,
    error: int,
    *,
    lasting: bool,
) -> None:
    nth = 1 - stride
    told = 0
    while True:
        nth += stride
        life = new_life(fresh, folder)
        seen = disk.run(life.go, folder, nth=nth, error=error, lasting=lasting)
        if not seen.failed:
            break
        if seen.error is not None:
            understood(seen.error)
            told += 1
        goes_on(life, undisturbed)
    assert seen.error is None
    # Failures of a checkpoint are not reported: the data is safe in the write-ahead log.
    assert nth > told * stride > 100


@pytest.mark.parametrize("step", LIMIT_STEPS)
def test_a_file_may_not_grow_any_further(
    fresh: Path, undisturbed: list[Dump], folder: Path, step: int
) -> None:
    """A quota or a process limit: writes are partial at any byte."""
    limit, told = 0, 0
    while True:
        life = new_life(fresh, folder)
        with no_file_beyond(limit):
            error = error_of(life)
        goes_on(life, undisturbed)
        if error is None:
            break
        understood(error)
        told += 1
        limit += step
    assert told > 10


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
@pytest.mark.parametrize("step", ROOM_STEPS)
def test_a_full_file_system_is_waited_for(
    fresh: Path, undisturbed: list[Dump], folder: Path, step: int
) -> None:
    small = folder / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", small], check=False, capture_output=True, text=True
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr}")
    try:
        room, told = 0, 0
        while True:
            life = new_life(fresh, small)
            ballast = small / "ballast"
            free = os.statvfs(small).f_bavail * os.statvfs(small).f_frsize
            ballast.write_bytes(bytes(max(0, free - room)))
            error = error_of(life)
            ballast.unlink()
            goes_on(life, undisturbed)
            if error is None:
                break
            understood(error)
            told += 1
            room += step
        assert told > 10
    finally:
        subprocess.run(["umount", small], check=True)


def error_of(life: Life) -> Exception | None:
    try:
        life.go()
    except Exception as e:  # examined by the caller
        return e
    return None


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("stride", STRIDES_OF_MAKING)
def test_every_write_of_making_a_database_may_fail(
    disk: FaultyDisk, fresh: Path, folder: Path, stride: int
) -> None:
    nth = 1 - stride
    while True:
        nth += stride
        path = folder / str(nth) / "jobs.db"
        path.parent.mkdir()
        life = Life(path)
        seen = disk.run(life.open, folder, nth=nth)
        if not seen.failed:
            break
        if seen.error is not None:
            understood(seen.error)
        life.open()
        life.close()
        assert dump(path) == dump(fresh)
    assert nth > 20


#: The upgrade from the first schema runs the revisions of all others.
REVISIONS = [
    pytest.param(revision, marks=[] if revision in {"0001", max(past_schemas.ROWS)} else pytest.mark.soak)
    for revision in sorted(past_schemas.ROWS)
]


@pytest.mark.parametrize("stride", STRIDES_OF_UPGRADES)
@pytest.mark.parametrize("revision", REVISIONS)
def test_every_write_of_an_upgrade_may_fail(
    disk: FaultyDisk, folder: Path, revision: str, stride: int
) -> None:
    old = folder / "old.db"
    past_schemas.make(old, revision)
    then = past_schemas.columns(old)
    before = past_schemas.rows(old, then)
    undisturbed = new_life(old, folder)
    undisturbed.open()
    undisturbed.close()
    after = past_schemas.rows(undisturbed.path, then)
    nth = 1 - stride
    while True:
        nth += stride
        life = new_life(old, folder)
        copy = life.path.with_name(f"{life.path.name}.backup-{revision}")
        seen = disk.run(life.open, folder, nth=nth)
        if not seen.failed:
            break
        # A commit with a late error may stand: either the whole upgrade or none of it.
        assert past_schemas.rows(life.path, then) in (before, after)
        if copy.exists():
            assert past_schemas.rows(copy, then) == before
        if seen.error is not None:
            understood(seen.error)
        life.open()
        life.close()
        dump(life.path)
        assert past_schemas.rows(life.path, then) == after
        assert past_schemas.rows(copy, then) == before
        assert list(life.path.parent.glob("*.tmp*")) == []
    assert nth > 20
