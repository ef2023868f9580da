"""Opening beneath a folder: no link on the way is followed, with and without openat2(2)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import files
from daemon.files import open_beneath, open_folder


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


def test_a_file_is_made_with_its_mode(beneath: int, tmp_path: Path) -> None:
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


def test_what_open_says_comes_through(beneath: int) -> None:
    with pytest.raises(FileNotFoundError):
        os.close(open_beneath(beneath, Path("a/none.wav"), os.O_RDONLY))
    with pytest.raises(IsADirectoryError):
        os.close(open_beneath(beneath, Path("a"), os.O_WRONLY))
