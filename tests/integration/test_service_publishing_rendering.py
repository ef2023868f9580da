"""Rendering in processes: the same files, also when a process is killed, hangs or ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dropscribe.ledger.columns import segment_rows
from dropscribe.service.publishing import rendering
from dropscribe.service.publishing.rendering import RESTART_S, Rendering
from dropscribe.service.publishing.rendering_child import NAME
from dropscribe.settings import Profile
from dropscribe.transcript.render import RENDERERS, Options, render_all
from dropscribe.transcript.types import Transcript
from tests.support.daemon_process import wait_until
from tests.support.publishing import House
from tests.support.transcripts import talk

OPTIONS = Options.of(Profile())


class Bench:
    """Rendering by two processes, with a clock set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.rendering = Rendering(2, lambda: self.now)
        self.rendering.start()
        self.await_ready()

    def processes(self) -> list[int]:
        return [c._process.pid or 0 for p in self.rendering._places if (c := p.child) is not None]

    def await_ready(self) -> None:
        for place in self.rendering._places:
            child = place.child
            assert child is not None
            wait_until(child.is_ready, "the process has started")

    def is_right(self, transcript: Transcript, formats: tuple[str, ...] = tuple(RENDERERS)) -> bool:
        made, rows = self.rendering.render_all(transcript, formats, OPTIONS)
        return made == render_all(transcript, formats, OPTIONS) and rows in {
            None,
            segment_rows(transcript.segments),
        }


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.rendering.close()


def test_processes_render_all_formats_several_at_a_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Path(f"/proc/{bench.processes()[0]}/comm").read_text() == f"{NAME}\n"
    here = render_all(talk(), RENDERERS, OPTIONS)
    monkeypatch.setattr("dropscribe.transcript.render.render_all", None)
    right: list[bool] = []

    def ask() -> None:
        made = bench.rendering.render_all(talk(), tuple(RENDERERS), OPTIONS)
        right.append(made == (here, segment_rows(talk().segments)))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert right == [True] * 6


def test_a_killed_process_costs_no_transcript_and_is_replaced(bench: Bench) -> None:
    before = bench.processes()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert [bench.is_right(talk()) for _ in range(4)] == [True] * 4
    assert bench.processes() == [], "not at once: it may be killed again and again"
    bench.now += RESTART_S
    assert [bench.is_right(talk()) for _ in range(4)] == [True] * 4
    after = bench.processes()
    assert after
    assert not set(after) & set(before)


def test_a_process_that_hangs_is_stopped(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "LONGEST_S", 0.1)
    monkeypatch.setattr(rendering, "_END_S", 0.1)
    stopped = bench.processes()
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    assert [bench.is_right(talk()) for _ in range(3)] == [True] * 3
    assert bench.processes() == []
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in stopped), "they are gone")


def test_a_process_that_is_waited_for_at_the_stop_ends_after_that(bench: Bench) -> None:
    processes = bench.processes()
    for pid in processes:
        os.kill(pid, signal.SIGSTOP)
    right: list[bool] = []
    thread = threading.Thread(target=lambda: right.append(bench.is_right(talk())))
    thread.start()
    wait_until(lambda: bench.rendering._idle.qsize() < len(processes), "it waits")
    bench.rendering.close()
    for pid in bench.processes():
        os.kill(pid, signal.SIGCONT)
    thread.join()
    assert right == [True]
    assert bench.processes() == []
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in processes), "they are gone")


def test_an_error_is_raised_where_it_can_be_told_and_the_processes_end_with_the_daemon(bench: Bench) -> None:
    processes = bench.processes()
    with pytest.raises(KeyError, match="sub"):
        bench.rendering.render_all(talk(), ["txt", "sub"], OPTIONS)
    assert bench.is_right(talk())
    assert bench.processes() == processes
    bench.rendering.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    assert bench.is_right(talk()), "what is left is rendered here"


def test_jobs_are_published_by_way_of_processes(tmp_path: Path) -> None:
    house = House(tmp_path, renderers=2).make()
    texts = {f"{i}.wav": f"第{i}段" for i in range(12)}
    for name, text in texts.items():
        house.admit(name, text)
    house.run()
    for name, text in texts.items():
        assert text in (house.inbox / name).with_suffix(".txt").read_text(encoding="utf-8")
