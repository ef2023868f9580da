"""Recordings that are moved and deleted: across file systems, with names taken, files swapped, and kills at every step."""

from __future__ import annotations

import hashlib
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from dropscribe.errors import StorageError
from dropscribe.files import FileSignature
from dropscribe.service.keeping import recording_files
from dropscribe.service.keeping.recording_files import Ended, LeavingRecording, delete, move
from dropscribe.transcript.placing import rename

CONTENT = b"RIFF" + bytes(range(256)) * 40


def quiet() -> None:
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in" / "sub").mkdir(parents=True)
    return tmp_path / "in"


@pytest.fixture(params=["same", "other"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file name in a folder of the same file system, and of another one."""
    if request.param == "same":
        yield tmp_path / "archive" / "deep" / "a.wav"
        return
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    with tempfile.TemporaryDirectory(dir=shm) as other:
        yield Path(other) / "deep" / "a.wav"


def recording(folder: Path, content: bytes = CONTENT) -> LeavingRecording:
    path = folder / "sub" / "a.wav"
    path.write_bytes(content)
    os.utime(path, ns=(1_000_000_007, 1_600_000_000_123_456_789))
    return LeavingRecording(
        path, folder, FileSignature.of(path.stat()), hashlib.sha256(CONTENT).hexdigest(), 7
    )


def files(*roots: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for root in roots for p in root.rglob("*") if p.is_file()}


def root_of(target: Path) -> Path:
    """An existing directory above the target."""
    return next(p for p in target.parents if p.is_dir())


def test_a_recording_moves_whole_with_its_time_and_rights(folder: Path, target: Path) -> None:
    one = recording(folder)
    one.path.chmod(0o640)
    assert move(one, target, root_of(target), quiet) is Ended.DONE
    assert files(folder, target.parent) == {"a.wav": CONTENT}
    status = target.stat()
    assert (status.st_mtime_ns, status.st_mode & 0o777) == (1_600_000_000_123_456_789, 0o640)


def test_a_file_at_the_target_stays(folder: Path, target: Path) -> None:
    one = recording(folder)
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    assert move(one, target, root_of(target), quiet) is Ended.TAKEN
    assert (target.read_bytes(), one.path.read_bytes()) == (b"mine", CONTENT)
    assert files(folder, target.parent).keys() == {"a.wav"}


@pytest.mark.parametrize("change", ["content", "replaced", "link", "gone", "folder"])
def test_what_is_not_the_recording_on_record_is_left_alone(
    folder: Path, target: Path, tmp_path: Path, change: str
) -> None:
    one = recording(folder)
    match change:
        case "content":
            one.path.write_bytes(b"new")
        case "replaced":
            (folder / "new").write_bytes(CONTENT)
            (folder / "new").replace(one.path)
        case "link":
            one.path.rename(tmp_path / "else.wav")
            one.path.symlink_to(tmp_path / "else.wav")
        case "gone":
            one.path.unlink()
        case "folder":
            (folder / "sub").rename(tmp_path / "moved")
            (folder / "sub").symlink_to(tmp_path / "moved")
    before = files(tmp_path)
    assert move(one, target, root_of(target), quiet) is Ended.STAYED
    assert delete(one, quiet) is (Ended.DONE if change == "gone" else Ended.STAYED)
    assert files(tmp_path) == before
    assert not target.exists()


def test_a_file_of_the_same_time_but_other_content_is_not_deleted(folder: Path) -> None:
    one = recording(folder, CONTENT[::-1])
    assert delete(one, quiet) is Ended.STAYED
    assert files(folder) == {"a.wav": CONTENT[::-1]}


def test_a_file_put_there_in_the_last_moment_gets_its_name_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recording(folder)
    real = rename.rename_new

    def swap(directory: int, source: str, target: str, to: int) -> None:
        monkeypatch.setattr(recording_files, "rename_new", real)
        one.path.unlink()
        one.path.write_bytes(b"new")
        real(directory, source, target, to)

    monkeypatch.setattr(recording_files, "rename_new", swap)
    assert delete(one, quiet) is Ended.STAYED
    assert files(folder) == {"a.wav": b"new"}


def test_without_room_or_rights_the_recording_stays(
    folder: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = recording(folder)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(recording_files, "_copy", full)
    real = rename.rename_new
    monkeypatch.setattr(
        recording_files,
        "rename_new",
        lambda d, s, t, to: full() if t == "a.wav" and d != to else real(d, s, t, to),
    )
    with pytest.raises(StorageError, match="No space left"):
        move(one, target, root_of(target), quiet)
    assert files(folder) == {"a.wav": CONTENT}


def test_a_stop_in_the_middle_of_a_copy_leaves_the_recording(folder: Path, target: Path) -> None:
    one = recording(folder)

    def stop() -> None:
        raise KeyboardInterrupt

    if root_of(target).stat().st_dev == folder.stat().st_dev:
        assert move(one, target, root_of(target), stop) is Ended.DONE, "nothing is copied on one file system"
        return
    with pytest.raises(KeyboardInterrupt):
        move(one, target, root_of(target), stop)
    assert files(folder, root_of(target)) == {"a.wav": CONTENT}


def killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a child that is killed before its file operation number `step`; False if it has fewer."""
    child = os.fork()
    if child == 0:
        left = [step]

        def counted(call: Callable[..., object]) -> Callable[..., object]:
            def wrapped(*arguments: object, **named: object) -> object:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*arguments, **named)

            return wrapped

        try:
            for name in ("unlink", "fsync", "write", "mkdir", "utime", "fchmod", "link", "close"):
                setattr(os, name, counted(getattr(os, name)))
            setattr(recording_files, "rename_new", counted(rename.rename_new))  # noqa: B010 - it is imported there
            action()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_killed_at_every_step_a_move_loses_nothing_and_moves_once(folder: Path, target: Path) -> None:
    steps = 0
    while True:
        one = recording(folder)
        steps += 1
        was_killed = killed_at(steps, partial(move, one, target, root_of(target), quiet))
        found = files(folder, root_of(target))
        assert CONTENT in found.values(), steps
        assert move(one, target, root_of(target), quiet) is Ended.DONE, steps
        assert files(folder, root_of(target)) == {"a.wav": CONTENT}, steps
        assert target.exists()
        target.unlink()
        if not was_killed:
            break
    assert steps > 4


def test_killed_at_every_step_a_deletion_ends_in_one(folder: Path) -> None:
    steps = 0
    while True:
        one = recording(folder)
        steps += 1
        was_killed = killed_at(steps, partial(delete, one, quiet))
        assert set(files(folder).values()) <= {CONTENT}, steps
        assert delete(one, quiet) is Ended.DONE, steps
        assert files(folder) == {}, steps
        if not was_killed:
            break
    assert steps > 3
