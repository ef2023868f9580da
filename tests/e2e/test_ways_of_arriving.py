"""Many recordings by each way of arriving: none is read early, lost or taken twice, and links out of the folder are
refused.

A recording read early has a recorded content that was never complete. All contents on record are compared, whatever the
state of their jobs, so that an error corrected later is found, too.
"""

from __future__ import annotations

import mmap
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.daemon_process import DaemonProcess, pieces, wait_until
from tests.support.ways_of_arriving import all_done, jobs_of, last_contents, on_record, sha256_of, tiny

#: Quiet period, seconds: short, so that reading too early is detected.
QUIET_S = 0.3
#: Content by path of recordings made outside the folder.
Whole = dict[Path, bytes]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    root = tmp_path_factory.mktemp("ways")
    with DaemonProcess(root, model="null", quiet_s=QUIET_S, rescan_s=0.5) as process:
        yield process


@pytest.fixture
def outside(daemon: DaemonProcess, request: pytest.FixtureRequest) -> Path:
    """A folder for this test on the daemon's file system that is not watched."""
    folder = daemon.root / str(request.node.name)
    folder.mkdir()
    return folder


@pytest.fixture
def inside(daemon: DaemonProcess, request: pytest.FixtureRequest) -> Path:
    """A folder for this test in the watched one."""
    folder = daemon.inbox / str(request.node.name)
    folder.mkdir()
    return folder


@pytest.fixture(params=[50, pytest.param(200, marks=pytest.mark.soak)])
def count(request: pytest.FixtureRequest) -> int:
    """Number of recordings per way of arriving."""
    number: int = request.param
    return number


def make(folder: Path, names: list[str]) -> Whole:
    """Write complete recordings in `folder`."""
    files = {folder / name: tiny(i) for i, name in enumerate(names)}
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def numbered(count: int) -> list[str]:
    return [f"{i}.wav" for i in range(count)]


def run(*command: str | Path) -> None:
    subprocess.run([os.fspath(part) for part in command], check=True)


def came(files: Whole, folder: Path, target: Path) -> dict[Path, list[bytes]]:
    """Expected contents of the same files below `target`, each once."""
    return {target / path.relative_to(folder): [data] for path, data in files.items()}


def assert_taken(daemon: DaemonProcess, folder: Path, wanted: dict[Path, list[bytes]]) -> None:
    """Assert that exactly these recordings are done, each with exactly these contents in this order."""
    expected = {path: [sha256_of(data) for data in contents] for path, contents in wanted.items()}
    wait_until(
        lambda: last_contents(daemon, folder).items() >= {p: c[-1] for p, c in expected.items()}.items(),
        f"all of {folder.name} are on record",
    )
    wait_until(lambda: all_done(daemon, folder, wanted), f"all of {folder.name} are done")
    assert on_record(daemon, folder) == expected
    for path, states in jobs_of(daemon, folder).items():
        assert states == ["done"] * len(wanted[path]), path
        assert path.exists()
    names = {Path(os.fsdecode(row["path_raw"])) for row in daemon.rows("select path_raw from outputs")}
    published = [path for path in names if path.parent == folder or folder in path.parents]
    assert len(published) >= 5 * len(wanted)
    for path in published:
        assert path.is_file(), path


def test_copied(daemon: DaemonProcess, count: int, outside: Path, inside: Path) -> None:
    files = make(outside, numbered(count))
    run("cp", *files, inside)
    assert_taken(daemon, inside, came(files, outside, inside))


def test_moved(daemon: DaemonProcess, count: int, outside: Path, inside: Path) -> None:
    files = make(outside, numbered(count))
    run("mv", *files, inside)
    assert_taken(daemon, inside, came(files, outside, inside))


def test_moved_as_a_tree(daemon: DaemonProcess, count: int, outside: Path) -> None:
    files = make(outside / "tree", [f"{i % 7}/{i % 3}/{i}.wav" for i in range(count)])
    target = daemon.inbox / f"a tree of {count}"
    run("mv", outside / "tree", target)
    assert_taken(daemon, target, came(files, outside / "tree", target))


def test_hard_linked(daemon: DaemonProcess, count: int, outside: Path, inside: Path) -> None:
    files = make(outside, numbered(count))
    run("ln", *files, inside)
    assert_taken(daemon, inside, came(files, outside, inside))


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.parametrize("option", ["--times", "--inplace"])
def test_rsync(daemon: DaemonProcess, count: int, outside: Path, inside: Path, option: str) -> None:
    files = make(outside, numbered(count))
    run("rsync", "--archive", option, f"{outside}/", f"{inside}/")
    assert_taken(daemon, inside, came(files, outside, inside))
    assert len(list(inside.glob(".*"))) == 0


def test_written_as_part_and_renamed(daemon: DaemonProcess, count: int, inside: Path) -> None:
    parts = make(inside, [f"{i}.wav.part" for i in range(count)])
    let_it_settle(daemon)
    assert on_record(daemon, inside) == {}
    for path in parts:
        path.rename(path.with_suffix(""))
    assert_taken(daemon, inside, {path.with_suffix(""): [data] for path, data in parts.items()})


def let_it_settle(daemon: DaemonProcess) -> None:
    """Wait until a new recording is done: all earlier files have then been examined."""
    name = f"marker-{time.monotonic_ns()}.wav"
    marker = daemon.inbox / name
    marker.write_bytes(tiny(time.monotonic_ns() % 2**31, take=9))
    daemon.wait_for(marker)


def test_writers_that_pause_longer_than_the_quiet_period(
    daemon: DaemonProcess, count: int, inside: Path
) -> None:
    whole = {inside / f"{i}.wav": tiny(i) for i in range(count)}
    writers = {path: path.open("wb", buffering=0) for path in whole}
    try:
        for turn in range(4):
            for path, writer in writers.items():
                writer.write(list(pieces(whole[path], 4))[turn])
            let_it_settle(daemon)
            assert on_record(daemon, inside) == {}
    finally:
        for writer in writers.values():
            writer.close()
    assert_taken(daemon, inside, {path: [data] for path, data in whole.items()})


def test_written_through_mapped_memory(daemon: DaemonProcess, count: int, inside: Path) -> None:
    """Full size from the start, and no write system calls."""
    whole = {inside / f"{i}.wav": tiny(i) for i in range(count)}
    maps: dict[Path, mmap.mmap] = {}
    try:
        for path, data in whole.items():
            with path.open("w+b") as file:
                file.truncate(len(data))
                maps[path] = mmap.mmap(file.fileno(), len(data))
        for turn in range(3):
            for path, mapped in maps.items():
                piece = list(pieces(whole[path], 3))[turn]
                at = turn * (len(whole[path]) // 3 + 1)
                mapped[at : at + len(piece)] = piece
            let_it_settle(daemon)
            assert on_record(daemon, inside) == {}
    finally:
        for mapped in maps.values():
            mapped.close()
    assert_taken(daemon, inside, {path: [data] for path, data in whole.items()})


def test_rewritten_in_place(daemon: DaemonProcess, count: int, inside: Path) -> None:
    first = make(inside, numbered(count))
    assert_taken(daemon, inside, {path: [data] for path, data in first.items()})
    second = {path: tiny(i, take=1) for i, path in enumerate(first)}
    writers = {path: path.open("r+b", buffering=0) for path in second}
    try:
        for turn in range(2):
            for path, writer in writers.items():
                writer.write(list(pieces(second[path], 2))[turn])
            let_it_settle(daemon)
    finally:
        for writer in writers.values():
            writer.close()
    assert_taken(daemon, inside, {path: [first[path], second[path]] for path in first})


def test_renamed_in_case_only(daemon: DaemonProcess, count: int, inside: Path) -> None:
    before = make(inside, [f"Talk-{i}.WAV" for i in range(count)])
    assert_taken(daemon, inside, {path: [data] for path, data in before.items()})
    after = {path.with_name(path.name.lower()): [data] for path, data in before.items()}
    for path in before:
        path.rename(path.with_name(path.name.lower()))
    wait_until(lambda: all_done(daemon, inside, after), "all are done under their new names")
    # They keep their jobs.
    assert on_record(daemon, inside) == {path: [sha256_of(data)] for path, [data] in after.items()}


HARD_NAMES: dict[str, Callable[[int], bytes]] = {
    "line end": lambda i: b"line\n%d\r.wav" % i,
    "emoji": lambda i: f"😀👩‍👩‍👧 {i} 会议.wav".encode(),
    "255 bytes": lambda i: b"%03d" % i + b"x" * 248 + b".wav",
    "invalid UTF-8": lambda i: b"\xff\xfe-%d-\xc3\x28.wav" % i,
}


@pytest.mark.parametrize("kind", sorted(HARD_NAMES))
def test_hard_names(daemon: DaemonProcess, count: int, kind: str) -> None:
    folder = daemon.inbox / f"{count} names {kind}"
    folder.mkdir()
    files = make(folder, [os.fsdecode(HARD_NAMES[kind](i)) for i in range(count)])
    assert_taken(daemon, folder, {path: [data] for path, data in files.items()})


def test_links_inside_the_folder(daemon: DaemonProcess, count: int, inside: Path) -> None:
    files = make(inside / "real", numbered(count))
    links = {inside / path.name: [data] for path, data in files.items()}
    for link in links:
        link.symlink_to(Path("real") / link.name)
    assert_taken(daemon, inside, {**{path: [data] for path, data in files.items()}, **links})


def test_links_that_leave_the_folder(daemon: DaemonProcess, count: int, outside: Path, inside: Path) -> None:
    files = make(outside, numbered(count))
    links = {inside / path.name for path in files}
    for link in links:
        link.symlink_to(outside / link.name)
    wait_until(
        lambda: len(daemon.rows("select 1 from skips where path like ?", f"{inside}/%")) == count,
        "each is skipped",
    )
    rows = daemon.rows("select code, reason from skips where path like ?", f"{inside}/%")
    assert {row["code"] for row in rows} == {"link_outside"}
    assert all(row["reason"] for row in rows)
    let_it_settle(daemon)
    assert on_record(daemon, inside) == {}
    assert {path.name for path in outside.iterdir()} == {path.name for path in files}, "nothing beside them"
