"""Publishing on a real disk, and with each system call failing in turn."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dropscribe.errors import OutputTakenError, StorageError
from dropscribe.files import OWNER_ONLY, opened, readers_of
from dropscribe.transcript.placing import rename
from dropscribe.transcript.placing.publish import PendingFile, publish, sweep, temporary_path

#: All functions of `os` with which publishing changes the disk.
CALLS = ("open", "write", "fsync", "link", "replace", "fstat", "close", "mkdir")


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_stand_whole_under_their_names_and_nothing_else_does(tmp_path: Path) -> None:
    files = {"a.txt": b"text\n", "a.srt": b"", "a.json": b"{}" * 100_000}
    publish([PendingFile(tmp_path / n, d) for n, d in files.items()])
    assert tree(tmp_path) == files


def test_publishing_nothing_is_allowed() -> None:
    publish([])


def test_directories_are_made(tmp_path: Path) -> None:
    publish([PendingFile(tmp_path / "x" / "y" / "a.txt", b"1"), PendingFile(tmp_path / "z" / "a.txt", b"2")])
    assert tree(tmp_path) == {"x/y/a.txt": b"1", "z/a.txt": b"2"}


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        publish([PendingFile(tmp_path / "a.txt", b"x")])
    finally:
        os.umask(before)
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o640


#: A group that this process is not in by default; only root can give it to a file.
OTHER_GROUP = 54_321


@pytest.mark.parametrize(
    ("umask", "recording", "expected"),
    [
        (0o022, 0o644, 0o644),
        (0o022, 0o600, 0o600),
        (0o022, 0o640, 0o640),
        (0o000, 0o604, 0o606),
        # Members of a group may correct transcripts of recordings that they may only read.
        (0o007, 0o640, 0o660),
        (0o007, 0o444, 0o660),
        (0o077, 0o644, 0o600),
        (0o007, 0o700, 0o600),
    ],
)
def test_nobody_reads_a_transcript_who_cannot_read_its_recording(
    tmp_path: Path, umask: int, recording: int, expected: int
) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(b"sound")
    source.chmod(recording)
    before = os.umask(umask)
    try:
        publish([PendingFile(tmp_path / "a.txt", b"x", readers=readers_of(source, tmp_path))])
        publish([PendingFile(tmp_path / "new" / "a.txt", b"x", readers=readers_of(source, None))])
    finally:
        os.umask(before)
    for transcript in (tmp_path / "a.txt", tmp_path / "new" / "a.txt"):
        assert oct(transcript.stat().st_mode & 0o777) == oct(expected)


def test_a_replaced_transcript_gets_the_readers_of_the_new_recording(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    target.chmod(0o644)
    publish([PendingFile(target, b"new", replaces=digest(b"old"), readers=OWNER_ONLY)])
    assert (target.read_bytes(), target.stat().st_mode & 0o777) == (b"new", 0o600)


def test_readers_of_a_recording_that_is_gone_or_leads_elsewhere_are_its_owner_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside.wav"
    outside.write_bytes(b"sound")
    (tmp_path / "inbox").mkdir()
    (tmp_path / "inbox" / "a.wav").symlink_to(outside)
    assert readers_of(tmp_path / "inbox" / "a.wav", tmp_path / "inbox") == OWNER_ONLY
    assert readers_of(tmp_path / "inbox" / "b.wav", tmp_path / "inbox") == OWNER_ONLY


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to other groups")
@pytest.mark.parametrize("setgid", [False, True])
def test_a_transcript_is_for_the_group_of_its_recording(tmp_path: Path, *, setgid: bool) -> None:
    source = tmp_path / "a.wav"
    source.write_bytes(b"sound")
    os.chown(source, -1, OTHER_GROUP)
    source.chmod(0o640)
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    os.chown(outputs, -1, OTHER_GROUP if setgid else OTHER_GROUP + 1)
    outputs.chmod(0o2775 if setgid else 0o775)
    publish([PendingFile(outputs / "a.txt", b"x", readers=readers_of(source, tmp_path))])
    status = (outputs / "a.txt").stat()
    assert (status.st_gid, status.st_mode & 0o007) == (OTHER_GROUP, 0)
    assert status.st_mode & 0o040


def test_a_foreign_file_is_never_overwritten_and_no_companion_appears(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_bytes(b"mine")
    with pytest.raises(OutputTakenError) as caught:
        publish([PendingFile(tmp_path / f"a.{e}", b"new") for e in ("txt", "srt", "vtt")])
    assert caught.value.path == tmp_path / "a.srt"
    assert tree(tmp_path) == {"a.srt": b"mine"}


def test_our_own_file_is_replaced_only_as_long_as_it_is_as_we_wrote_it(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_bytes(b"old")
    publish([PendingFile(target, b"new", replaces=digest(b"old"))])
    assert target.read_bytes() == b"new"
    target.write_bytes(b"corrected by hand")
    with pytest.raises(OutputTakenError):
        publish([PendingFile(target, b"newer", replaces=digest(b"new"))])
    assert tree(tmp_path) == {"a.txt": b"corrected by hand"}


def test_a_file_to_replace_that_is_gone_is_simply_written(tmp_path: Path) -> None:
    publish([PendingFile(tmp_path / "a.txt", b"new", replaces=digest(b"old"))])
    assert tree(tmp_path) == {"a.txt": b"new"}


@pytest.mark.parametrize("kind", ["directory", "link", "dangling link", "fifo"])
@pytest.mark.parametrize("replacing", [False, True])
def test_what_is_no_plain_file_is_left_alone(tmp_path: Path, kind: str, replacing: bool) -> None:
    target = tmp_path / "a.txt"
    other = tmp_path / "other"
    other.write_bytes(b"other")
    match kind:
        case "directory":
            target.mkdir()
        case "fifo":
            os.mkfifo(target)
        case "link":
            target.symlink_to(other)
        case _:
            target.symlink_to(tmp_path / "nowhere")
    before = target.lstat()
    with pytest.raises(OutputTakenError):
        publish([PendingFile(target, b"new", digest(b"other") if replacing else None)])
    assert target.lstat().st_ino == before.st_ino
    assert other.read_bytes() == b"other"
    assert not list(tmp_path.glob(".*"))


def test_the_longest_name_can_be_published(tmp_path: Path) -> None:
    name = "会" * 83 + ".txt"
    publish([PendingFile(tmp_path / name, b"x")])
    assert tree(tmp_path) == {name: b"x"}


def outcome(files: list[PendingFile]) -> StorageError | None:
    try:
        publish(files)
    except StorageError as e:
        return e
    return None


@contextmanager
def failing(name: str, nth: int, code: int) -> Iterator[Callable[[], int]]:
    """Make the `nth` call (from 1) of os.<name> fail with `code`; yields a function that counts the calls."""
    real: Callable[..., Any] = getattr(os, name)
    made = 0

    def call(*arguments: Any, **named: Any) -> Any:
        nonlocal made
        made += 1
        if made == nth:
            if name == "close":  # a failing close(2) still frees the descriptor
                real(*arguments, **named)
            raise OSError(code, os.strerror(code))
        return real(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, call)
        yield lambda: made


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EACCES])
def test_whichever_call_fails_files_are_whole_or_absent(tmp_path: Path, name: str, code: int) -> None:
    old, new = b"old" * 1000, b"new" * 1000
    failures = 0
    for nth in range(1, 100):
        folder = tmp_path / str(nth)
        folder.mkdir()
        (folder / "ours.txt").write_bytes(old)
        (folder / "strange.txt").write_bytes(b"strange")
        files = [
            PendingFile(folder / "ours.txt", new, replaces=digest(old)),
            PendingFile(folder / "a.srt", new),
            PendingFile(folder / "below" / "a.vtt", new),
            PendingFile(folder / "a.json", new),
        ]
        descriptors = open_files()
        with failing(name, nth, code) as made:
            problem = outcome(files)
        assert open_files() == descriptors, f"call {nth} leaks a descriptor"
        after = tree(folder)
        assert after.pop("strange.txt") == b"strange"
        if problem is None:
            assert after == {"ours.txt": new, "a.srt": new, "below/a.vtt": new, "a.json": new}
        else:
            failures += 1
            assert problem.remedy
            assert problem.path is not None
            # New files are all removed; the replaced one is the old or the new, complete.
            assert after in ({"ours.txt": old}, {"ours.txt": new}), f"call {nth}"
        if made() < nth:
            assert problem is None
            break
    else:
        raise AssertionError("the calls never ended")
    assert failures > 0 or name == "close"


def test_content_reaches_the_disk_before_its_name_and_the_names_before_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    fsync, link, replace = os.fsync, os.link, os.replace

    def note_fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        # The content of the directory at this moment is what a power failure would leave.
        if target.is_dir():
            calls.extend(("stands", p.name) for p in sorted(target.iterdir()))
        calls.append(("fsync", target.name))
        fsync(descriptor)

    def note_link(source: str, target: str, **where: Any) -> None:
        calls.append(("name", target))
        link(source, target, **where)

    def note_replace(source: str, target: str, **where: Any) -> None:
        calls.append(("name", target))
        replace(source, target, **where)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    monkeypatch.setattr(os, "replace", note_replace)
    (tmp_path / "b.txt").write_bytes(b"old")
    publish([PendingFile(tmp_path / "a.txt", b"1"), PendingFile(tmp_path / "b.txt", b"2", digest(b"old"))])
    assert calls == [
        ("fsync", ".a.txt.dropscribe.tmp"),
        ("fsync", ".b.txt.dropscribe.tmp"),
        ("name", "a.txt"),
        ("name", "b.txt"),
        ("stands", "a.txt"),
        ("stands", "b.txt"),
        ("fsync", tmp_path.name),
    ]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP])
@pytest.mark.parametrize("renameat2", [True, False])
def test_without_hard_links_the_same_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, renameat2: bool
) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", no_links)
    if not renameat2:
        monkeypatch.setattr(rename, "rename_without_replacing", lambda *_: False)
    (tmp_path / "taken.txt").write_bytes(b"mine")
    publish([PendingFile(tmp_path / "a.txt", b"1"), PendingFile(tmp_path / "b.txt", b"2")])
    with pytest.raises(OutputTakenError):
        publish([PendingFile(tmp_path / "c.txt", b"3"), PendingFile(tmp_path / "taken.txt", b"4")])
    assert tree(tmp_path) == {"a.txt": b"1", "b.txt": b"2", "taken.txt": b"mine"}


def test_the_name_that_was_claimed_is_given_up_when_the_rename_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(code: int) -> Callable[..., None]:
        def call(*_: object, **__: object) -> None:
            raise OSError(code, os.strerror(code))

        return call

    monkeypatch.setattr(os, "link", refuse(errno.EPERM))
    monkeypatch.setattr(rename, "rename_without_replacing", lambda *_: False)
    monkeypatch.setattr(os, "replace", refuse(errno.EIO))
    with pytest.raises(StorageError):
        publish([PendingFile(tmp_path / "a.txt", b"1")])
    assert tree(tmp_path) == {}


def test_renaming_without_replacing_is_refused_by_the_real_kernel(tmp_path: Path) -> None:
    if not hasattr(ctypes.CDLL(None), "renameat2"):
        pytest.skip("this libc has no renameat2")
    (tmp_path / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    with opened(tmp_path) as directory:
        with pytest.raises(FileExistsError):
            rename.rename_without_replacing(directory, "a", "b")
        assert rename.rename_without_replacing(directory, "a", "c")
    assert tree(tmp_path) == {"b": b"b", "c": b"a"}


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from dropscribe.errors import StorageError
from dropscribe.transcript.placing.publish import PendingFile, publish
disk = Path(sys.argv[1])
publish([PendingFile(disk / "before.txt", b"x" * 1000)])
try:
    publish([PendingFile(disk / "a.txt", b"small"), PendingFile(disk / "a.json", b"x" * 10_000_000)])
except StorageError as e:
    print(e.reason, "|", e.remedy, "|", sorted(p.name for p in disk.iterdir()))
"""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [
            "unshare",
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            command,
            "sh",
            disk,
            sys.executable,
            script,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    assert done.stdout.startswith("No space left on device | free some space")
    assert done.stdout.strip().endswith("['before.txt']")


def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="output_dir"):
            publish([PendingFile(tmp_path / "a.txt", b"x")])
    finally:
        tmp_path.chmod(0o700)


def test_temporaries_of_a_killed_process_are_swept(tmp_path: Path) -> None:
    for name in ("a.txt", "b.txt"):
        temporary_path(tmp_path / name).write_bytes(b"half")
    (tmp_path / ".hidden.tmp").write_bytes(b"not ours")
    publish([PendingFile(tmp_path / "a.txt", b"whole")])
    assert sweep(tmp_path) == 1
    assert tree(tmp_path) == {"a.txt": b"whole", ".hidden.tmp": b"not ours"}


def test_temporaries_of_a_running_process_are_not_swept(tmp_path: Path) -> None:
    temporary = temporary_path(tmp_path / "a.txt")
    temporary.write_bytes(b"under way")
    with temporary.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert sweep(tmp_path) == 0
        publish([PendingFile(tmp_path / "a.txt", b"x")])
    assert tree(tmp_path) == {temporary.name: b"under way", "a.txt": b"x"}
    assert sweep(tmp_path) == 1


def test_a_folder_that_is_gone_cannot_be_swept(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        sweep(tmp_path / "nowhere")
