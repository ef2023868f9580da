"""Files with references: no download, and no other file is read, for any name and format."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

from dropscribe.errors import DropscribeError, UnreadableMediaError
from dropscribe.media.sources.source_av import AvSource
from dropscribe.media.sources.span import Span
from tests.support.decoding import run
from tests.support.recordings import noise
from tests.support.references import PLAYLISTS, playlists, referring

EXTENSIONS = (".wav", ".mp3", ".m4a", ".ts")

#: Script that decodes the files on its command line. Before, it decodes a good file by each library, so that all
#: modules are loaded; opening /begin-to-count then marks where the trace begins to count.
SCRIPT = """
import os, sys
from pathlib import Path
from dropscribe.errors import DropscribeError
from dropscribe.media.decode import Limits, decode
from dropscribe.media.sources.source_av import AvSource
from dropscribe.media.sources.span import Span

class Sink:
    def opened(self, facts, declared_s): pass
    def write(self, pcm): pass

wav, flac, *hostile = map(Path, sys.argv[1:])
for path in (wav, flac):
    decode(path, None, Limits(1), Sink())
try:
    os.open("/begin-to-count", os.O_RDONLY)
except OSError:
    pass
for path in hostile:
    fd, size = os.open(path, os.O_RDONLY), path.stat().st_size
    for attempt in (
        lambda: decode(path, None, Limits(1), Sink()),
        lambda: AvSource(Span(fd, 0, size)),
        lambda: AvSource(Span(fd, 0, size - 1)),  # read as a part of a file
    ):
        try:
            attempt()
        except DropscribeError:
            pass
print("over")
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listener that accepts no connection; pending ones are detected."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """An audio file that must not be read."""
    path = tmp_path / "secret.wav"
    soundfile.write(path, noise(1), 16_000)
    return path


def never_read(path: Path) -> None:
    """Set an access time that changes when the file is read (if the file system records it)."""
    os.utime(path, ns=(1, path.stat().st_mtime_ns))


def assert_nobody_came(listener: socket.socket) -> None:
    with pytest.raises(BlockingIOError):
        listener.accept()


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("kind", PLAYLISTS)
def test_a_playlist_dressed_as_a_recording_fetches_nothing(
    kind: str, extension: str, listener: socket.socket, secret: Path, tmp_path: Path
) -> None:
    path = tmp_path / f"meeting{extension}"
    contents = [content for made, content in playlists(listener.getsockname()[1], secret) if made == kind]
    never_read(secret)
    for content in contents:
        path.write_bytes(content)
        with pytest.raises(UnreadableMediaError):
            run(path)
        # The decoder itself refuses, too, in case the check of the first bytes misses one.
        with path.open("rb") as file, pytest.raises(UnreadableMediaError):
            AvSource(Span(file.fileno(), 0, len(content)))
    assert_nobody_came(listener)
    assert secret.stat().st_atime_ns == 1


def test_recordings_that_point_elsewhere_give_only_what_they_hold(
    listener: socket.socket, secret: Path, tmp_path: Path
) -> None:
    address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.wav"
    ended = {}
    paths = list(referring(tmp_path, address, secret))
    never_read(secret)
    for path in paths:
        try:
            facts, _ = run(path)
        except DropscribeError as e:
            ended[path.name] = e.code
        else:
            ended[path.name] = f"{facts.duration_ms} ms"
    assert_nobody_came(listener)
    assert secret.stat().st_atime_ns == 1
    # Audio in another file is not used; other references do not affect the audio in the file itself.
    assert ended["dref-alias.mov"] == "no_audio"
    assert ended["rmra.mov"] in {"no_audio", "unreadable_media"}
    for name in ("dref-url.mov", "dref-file.mov", "linked.mka", "picture.flac"):
        assert ended[name] == "1000 ms", name
    assert ended["picture.mp3"].endswith(" ms")


def test_no_system_call_asks_for_the_network_or_another_file(
    listener: socket.socket, secret: Path, tmp_path: Path
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    files = list(referring(tmp_path, f"http://127.0.0.1:{listener.getsockname()[1]}/a.wav", secret))
    for number, (kind, content) in enumerate(playlists(listener.getsockname()[1], secret)):
        files.append(tmp_path / f"{kind}-{number}{EXTENSIONS[number % len(EXTENSIONS)]}")
        files[-1].write_bytes(content)
    for name in ("warm.wav", "warm.flac"):
        soundfile.write(tmp_path / name, noise(1), 16_000)
    trace = tmp_path / "trace"
    calls = "trace=%network,open,openat,openat2,creat,execve"
    command = [
        sys.executable,
        "-c",
        SCRIPT,
        str(tmp_path / "warm.wav"),
        str(tmp_path / "warm.flac"),
        *map(str, files),
    ]
    done = subprocess.run(
        [strace, "-f", "-qq", "-s", "4096", "-o", str(trace), "-e", calls, "--", *command],
        capture_output=True, text=True, check=False, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    if "ptrace" in done.stderr.lower() and "not permitted" in done.stderr.lower():
        pytest.skip("this machine does not let strace trace")
    assert done.stdout == "over\n", done.stderr
    traced = trace.read_text(encoding="utf-8", errors="replace")
    _, begun, counted = traced.partition('"/begin-to-count", O_RDONLY')
    assert begun
    allowed = {str(path) for path in files}
    opened, others = set(), []
    for line in counted.splitlines()[1:]:
        call = re.search(r'\bopen(?:at2?)?\((?:AT_FDCWD, )?"([^"]*)", ', line)
        if call and call[1] in allowed and "O_WRONLY" not in line and "O_RDWR" not in line:
            opened.add(call[1])
        elif re.search(r"^\d+\s+\w+\(", line):
            others.append(line)
    assert others == []
    assert opened == allowed
    assert_nobody_came(listener)
