"""Opening below a folder without following links, with and without openat2(2)."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe import files
from dropscribe.files import GONE, open_beneath, open_folder, open_recording, relative_to, status_beneath


@pytest.fixture(params=["openat2", "stepwise"])
def beneath(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[int]:
    """Descriptor of a folder with `a/b/talk.wav`, beside which lies `secret/talk.wav`."""
    if request.param == "openat2" and not files._has_openat2():
        pytest.skip("this kernel has no openat2")
    monkeypatch.setattr(files, "_has_openat2", lambda: request.param == "openat2")
    (tmp_path / "folder/a/b").mkdir(parents=True)
    (tmp_path / "folder/a/b/talk.wav").write_bytes(b"ours")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/talk.wav").write_bytes(b"secret")
    descriptor = open_folder(tmp_path / "folder")
    yield descriptor
    os.close(descriptor)


def test_a_file_below_is_opened(beneath: int) -> None:
    descriptor = open_beneath(beneath, Path("a/b/talk.wav"), os.O_RDONLY)
    assert os.read(descriptor, 10) == b"ours"
    assert not os.get_inheritable(descriptor)
    os.close(descriptor)


def test_a_file_is_created_with_its_mode(beneath: int, tmp_path: Path) -> None:
    os.close(open_beneath(beneath, Path("a/new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    assert (tmp_path / "folder/a/new").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("swapped", ["a", "a/b", "a/b/talk.wav"])
@pytest.mark.parametrize("inside", [False, True])
def test_a_link_on_the_way_is_refused(beneath: int, tmp_path: Path, swapped: str, *, inside: bool) -> None:
    place = tmp_path / "folder" / swapped
    place.rename(tmp_path / "folder/moved")
    place.symlink_to(tmp_path / ("folder/moved" if inside else "secret"))
    with pytest.raises(OSError, match="Errno") as refused:
        os.close(open_beneath(beneath, Path("a/b/talk.wav"), os.O_RDONLY))
    assert refused.value.errno in {errno.ELOOP, errno.ENOTDIR}


@pytest.mark.parametrize("path", ["../secret/talk.wav", "a/../../secret/talk.wav", "/etc/passwd"])
def test_a_path_that_leaves_the_folder_is_refused(beneath: int, path: str) -> None:
    with pytest.raises(OSError, match="Errno") as refused:
        os.close(open_beneath(beneath, Path(path), os.O_RDONLY))
    assert refused.value.errno == errno.EXDEV


def test_the_folder_itself_is_below_it(beneath: int) -> None:
    for itself in ("", ".", Path()):
        descriptor = open_beneath(beneath, itself, os.O_RDONLY)
        assert os.path.sameopenfile(beneath, descriptor)
        os.close(descriptor)


@pytest.mark.parametrize(
    ("path", "folder", "relative"),
    [
        ("/in/a.wav", "/in", "a.wav"),
        ("/in//b/./a.wav", "/in/", "b/a.wav"),
        ("/in/b/../a.wav", "/in", "a.wav"),
        ("/in", "/in/", "."),
        ("/a.wav", "/", "a.wav"),
        ("/", "/", "."),
    ],
)
def test_a_path_is_relative_to_its_folder(path: str, folder: str, relative: str) -> None:
    assert relative_to(Path(path), Path(folder)) == relative


@pytest.mark.parametrize("path", ["/inside/a.wav", "/a.wav", "/in/../a.wav", "a.wav"])
def test_a_path_elsewhere_is_not_relative_to_the_folder(path: str) -> None:
    with pytest.raises(OSError, match="does not lie in") as refused:
        relative_to(Path(path), Path("/in"))
    assert refused.value.errno == errno.EXDEV


def test_errors_of_open_are_passed_on(beneath: int) -> None:
    with pytest.raises(FileNotFoundError):
        os.close(open_beneath(beneath, Path("a/none.wav"), os.O_RDONLY))
    with pytest.raises(IsADirectoryError):
        os.close(open_beneath(beneath, Path("a"), os.O_WRONLY))


def read(path: Path, folder: Path | None) -> bytes:
    descriptor = open_recording(path, folder)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def swap(place: Path, target: Path) -> None:
    """Replace a path with a link."""
    place.rename(place.with_name(place.name + "-moved"))
    place.symlink_to(target)


@pytest.mark.usefixtures("beneath")
class TestOpenRecording:
    def test_a_recording_and_a_link_to_it(self, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        (folder / "relative.wav").symlink_to("a/b/talk.wav")
        (folder / "a/absolute.wav").symlink_to(folder / "relative.wav")
        (tmp_path / "other name").symlink_to(folder)
        for name in ("a/b/talk.wav", "relative.wav", "a/absolute.wav"):
            assert read(folder / name, folder) == b"ours"
            assert read(tmp_path / "other name" / name, tmp_path / "other name") == b"ours"

    @pytest.mark.parametrize("swapped", ["a", "a/b", "a/b/talk.wav"])
    @pytest.mark.parametrize("kind", ["absolute", "relative", "chain"])
    def test_a_target_outside_the_folder_is_not_opened(self, tmp_path: Path, swapped: str, kind: str) -> None:
        folder = tmp_path / "folder"
        secret = tmp_path / "secret"
        (secret / "b").mkdir()
        (secret / "b/talk.wav").write_bytes(b"secret")
        target = secret / "talk.wav" if swapped.endswith("wav") else secret
        if kind == "relative":
            target = Path(os.path.relpath(target, (folder / swapped).parent))
        if kind == "chain":
            (folder / "step").symlink_to(target)
            target = folder / "step"
        swap(folder / swapped, target)
        with pytest.raises(OSError, match="Errno") as refused:
            read(folder / "a/b/talk.wav", folder)
        assert refused.value.errno in GONE
        assert read(folder / "a/b/talk.wav", None) == b"secret", "a person who names it may follow links"

    def test_a_path_outside_the_folder_is_not_opened(self, tmp_path: Path) -> None:
        for path in (tmp_path / "secret/talk.wav", tmp_path / "folder/../secret/talk.wav"):
            with pytest.raises(OSError, match="Errno") as refused:
                read(path, tmp_path / "folder")
            assert refused.value.errno == errno.EXDEV

    def test_opening_a_pipe_does_not_block(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "folder/pipe.wav")
        os.close(open_recording(tmp_path / "folder/pipe.wav", tmp_path / "folder"))


def test_status_is_that_of_the_link_itself(beneath: int, tmp_path: Path) -> None:
    (tmp_path / "folder/a/link.wav").symlink_to(tmp_path / "secret/talk.wav")
    assert stat.S_ISLNK(status_beneath(beneath, Path("a/link.wav")).st_mode)
    assert status_beneath(beneath, Path("a/b/talk.wav")).st_size == 4
    swap(tmp_path / "folder/a", tmp_path / "secret")
    with pytest.raises(OSError, match="Errno") as refused:
        status_beneath(beneath, Path("a/talk.wav"))
    assert refused.value.errno in GONE


def test_directories_are_made_deeper_than_python_recurses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "sync_directory", lambda _: None)
    deep = tmp_path.joinpath(*["d"] * (sys.getrecursionlimit() + 50))
    try:
        os.close(files.open_directory(tmp_path, deep, make=True))
        os.close(files.open_directory(tmp_path, deep))
    finally:
        # pytest cannot remove it, because shutil.rmtree recurses.
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)
