"""Run the shell blocks of README and docs/ in order, in a temporary checkout with a daemon on ./drop.

The fence of a block notes if it needs root, a network, a GPU, a whole checkout, recordings and jobs of one's own, or minutes; then only its syntax is
checked, and test_docs_complete.py checks its commands and options. Drop-ins of the unit are checked by
systemd-analyze.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import pytest

from dropscribe.engine.models.store import SAMPLE as SAMPLE_FILE
from tests.support.daemon_process import write_speech
from tests.support.documentation import DOCS, PAGES, README, ROOT, SAMPLE, Block, blocks
from tests.support.long_forms import IN_SOAK

SHELL = [b for p in PAGES for b in blocks(p, "sh")]
#: Blocks of the first page in order, then those of all other pages; what two pages show runs once.
_FREE = [b for b in SHELL if not b.note]
RUN = [b for i, b in enumerate(_FREE) if b.text not in {earlier.text for earlier in _FREE[:i]}]
#: Time limit for a command, the start of the daemon, and a transcript, seconds.
LIMIT_S = 240.0


class Checkout:
    """A folder like a checkout after `make run`: .venv, the sample, ./drop with a running daemon, a home directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".venv").mkdir()
        (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        (folder / "drop").mkdir()
        (folder / SAMPLE).parent.mkdir(parents=True)
        shutil.copy(SAMPLE_FILE, folder / SAMPLE)
        home = folder / "home"
        (home / "recordings").mkdir(parents=True)
        for name in ("talk.mp3", "lecture.wav"):
            # The extension does not matter: the format is detected by content.
            write_speech(folder / name, seconds=4.0)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environment = {
            "PATH": path, "HOME": str(home), "LC_ALL": "C.UTF-8", "OMP_NUM_THREADS": "1",
        }  # fmt: skip

        #: Configuration of the installed service that the manual assumes; the first page assumes none. No block of the manual
        #: shows what is recognised.
        self.configuration = folder / "service.toml"
        self.configuration.write_text(
            f'database = "{folder}/jobs.db"\n'
            '[engine]\nmodel = "null"\nvad_model = "null"\n'
            f'[[folder]]\npath = "{folder}/drop"\n',
            encoding="utf-8",
        )

    def run_block(self, block: Block) -> None:
        """Run a block in the environment that its page assumes. It must succeed."""
        installed = {"DROPSCRIBE_CONFIG": str(self.configuration)} if block.page.parent == DOCS else {}
        done = self.run(block.text, installed)
        assert done.returncode == 0, f"{block.name}: {done.stderr}{done.stdout}"

    def run(
        self, text: str, more: Mapping[str, str] = MappingProxyType({})
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-u", "-o", "pipefail", "-c", text],
            cwd=self.folder, env={**self.environment, **more}, capture_output=True, encoding="utf-8", check=False, timeout=LIMIT_S,
        )  # fmt: skip

    def start(self) -> None:
        """Start the daemon by the last line of `make run`, and wait until it is healthy."""
        log = self.folder / "log"
        with log.open("w") as out:
            self.daemon = subprocess.Popen(
                ["bash", "-c", f"exec {command_of_make_run()}"],
                cwd=self.folder, env=self.environment, stdout=out, stderr=out,
            )  # fmt: skip
        end = time.monotonic() + LIMIT_S
        while self.run("dropscribe status --database jobs.db").returncode != 0:
            if self.daemon.poll() is not None or time.monotonic() > end:
                self.daemon.kill()
                raise AssertionError(log.read_text(encoding="utf-8"))
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the daemon with SIGINT."""
        self.daemon.terminate()
        assert self.daemon.wait(LIMIT_S) == 0, (self.folder / "log").read_text(encoding="utf-8")

    def wait_done(self) -> None:
        """Wait until every recording in ./drop has all its files."""
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            recordings = list((self.folder / "drop").glob("*.wav"))
            if all(r.with_suffix(".timing.json").exists() for r in recordings):
                with closing(sqlite3.connect(self.folder / "jobs.db", timeout=LIMIT_S)) as database:
                    running = "select 1 from jobs where state = 'running'"
                    if database.execute(running).fetchone() is None:
                        return
            time.sleep(0.2)
        raise AssertionError("the daemon did not transcribe what was dropped")


def command_of_make_run() -> str:
    """Last command of `make run`, which starts the daemon."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = re.search(r"^\t@exec \$\(BIN\)/(dropscribe run .*)$", makefile, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    made = Checkout(tmp_path_factory.mktemp("checkout"))
    made.start()
    try:
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def dropped(checkout: Checkout) -> Checkout:
    """A checkout after the first step of README.md: the sample is dropped and transcribed."""
    first = next(b for b in RUN if b.page == README)
    assert first.text == f"cp {SAMPLE} drop/\n"
    checkout.run_block(first)
    checkout.wait_done()
    return checkout


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("block", RUN, ids=lambda b: b.name)
def test_every_shell_block_works(block: Block, dropped: Checkout) -> None:
    dropped.run_block(block)
    dropped.wait_done()


# What these commands do to a database without a daemon is tested command by command in tests/integration/test_cli_*.py.
@IN_SOAK
@pytest.mark.timeout(2 * LIMIT_S)
def test_blocks_for_a_stopped_daemon_work(dropped: Checkout) -> None:
    dropped.stop()
    try:
        for block in (b for b in SHELL if b.note == "stopped"):
            dropped.run_block(block)
    finally:
        dropped.start()


def test_the_first_page_shows_a_transcript(dropped: Checkout) -> None:
    reading = next(b for b in RUN if b.page == README and b.text.startswith("cat "))
    done = dropped.run(reading.text)
    assert "会议" in done.stdout
    assert "demonstration" in done.stdout
    assert "done" in done.stdout


@pytest.mark.parametrize("block", SHELL, ids=lambda b: b.name)
def test_the_syntax_of_every_shell_block(block: Block) -> None:
    done = subprocess.run(
        ["bash", "-n", "-c", block.text], capture_output=True, encoding="utf-8", check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr


def test_enough_is_run() -> None:
    assert len(RUN) >= 12
    assert len({b.page for b in RUN}) >= 6


@pytest.mark.parametrize("block", [b for p in PAGES for b in blocks(p, "sh")], ids=lambda b: b.name)
def test_files_that_blocks_install_are_there(block: Block) -> None:
    for name in re.findall(r"(?<![\w/])systemd/[\w.-]+", block.text):
        assert (ROOT / name).is_file(), name


@pytest.mark.parametrize("block", [b for p in PAGES for b in blocks(p, "ini")], ids=lambda b: b.name)
def test_drop_ins_of_the_unit_are_valid(block: Block, tmp_path: Path) -> None:
    """systemd reports unknown and invalid settings as ignored."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / "dropscribe.service"
    text = (ROOT / "systemd" / "dropscribe.service").read_text(encoding="utf-8")
    unit.write_text(
        re.sub(r"^(ExecStart|User|Group)=.*\n", "", text, flags=re.MULTILINE)
        + "[Service]\nExecStart=/bin/true\n"
    )
    (tmp_path / "dropscribe.service.d").mkdir()
    (tmp_path / "dropscribe.service.d" / "override.conf").write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [analyze, "verify", "--man=no", str(unit)],
        capture_output=True, encoding="utf-8", check=False, timeout=60, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip
    said = [line for line in (done.stdout + done.stderr).splitlines() if "override.conf" in line]
    # A program missing on this machine is no error of the drop-in.
    assert not [line for line in said if "not executable" not in line]


def test_blocks_used_by_the_systemd_tests_exist() -> None:
    """tests/systemd/checks.py runs the steps from the accounts to the configuration, and doctor's command."""
    (block,) = [b for b in blocks(DOCS / "installation.md", "sh") if "dropscribe init" in b.text]
    assert (
        block.text.index("install -Dm644")
        < block.text.index("systemd-sysusers")
        < block.text.index("runuser")
    )
    assert re.search(r"^runuser .*?\\\n.*doctor.*$", block.text, re.MULTILINE)
