"""Publishing in processes: the same files, also when a process is killed at any point, hangs or ends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from dropscribe.errors import OutputTakenError
from dropscribe.files import OWNER_ONLY
from dropscribe.ledger.columns import segment_rows
from dropscribe.service.activity import Activity
from dropscribe.service.publishing import directory_cache, publisher
from dropscribe.service.publishing.making import team as teams
from dropscribe.service.publishing.making.child import NAME
from dropscribe.service.publishing.making.file_maker import (
    WRITERS,
    FileMaker,
    Made,
    MadeFile,
    Order,
    Placing,
    Written,
)
from dropscribe.service.publishing.making.makers import RESTART_S, Makers
from dropscribe.service.publishing.making.team import SHARE, Child
from dropscribe.service.publishing.output_plan import Ordered, Orders, OutputPlan
from dropscribe.service.publishing.publisher import Publisher, Ready
from dropscribe.settings import Profile
from dropscribe.transcript.render import RENDERERS, Options, render_all
from dropscribe.transcript.types import Transcript
from tests.support.daemon_process import wait_until
from tests.support.publishing import House
from tests.support.transcripts import talk

OPTIONS = Options.of(Profile())
FORMATS = tuple(RENDERERS)


def _watch(_: Path) -> AbstractContextManager[Callable[[], None]]:
    return nullcontext(lambda: None)


class Bench:
    """Two publishing processes that a batch has for itself, with a clock set by hand."""

    def __init__(self, folder: Path, parts: int = 1) -> None:
        self.now = 0.0
        self.folder = folder
        self.made_here = 0
        self.makers = Makers(2, lambda: self.now, parts=parts)
        self.makers.start()
        for place in self.makers._places:
            child = place.child
            assert child is not None
            wait_until(child.is_ready, "the process has started")

    def processes(self) -> list[int]:
        return [place.child.pid for place in self.makers._places if place.child is not None]

    def work(self, jobs: int, formats: tuple[str, ...]) -> list[tuple[Transcript, Made, Written | Exception]]:
        """Render and write the files of so many jobs, JOB.FORMAT; raises what rendering raises."""
        said = [replace(talk(), job_id=job) for job in range(1, jobs + 1)]
        with ThreadPoolExecutor(WRITERS) as writers:
            here = FileMaker(writers, _watch, self._made)
            with self.makers.team(jobs, here, _watch, lambda: None) as team:
                rendered: list[Made] = []
                for made in team.render([Order(one, formats, OPTIONS, "", rows=True) for one in said]):
                    if isinstance(made, Exception):
                        raise made
                    rendered.append(made)
                written = team.write([
                    Placing(
                        one.job_id, self.folder, {f: f"{one.job_id}.{f}" for f in formats}, {}, self.folder, OWNER_ONLY
                    )
                    for one in said
                ])  # fmt: skip
        return list(zip(said, rendered, written, strict=True))

    def is_right(self, jobs: int = 2 * SHARE, formats: tuple[str, ...] = FORMATS) -> bool:
        """Whether the files are as they are to be."""
        right = []
        for one, made, written in self.work(jobs, formats):
            assert isinstance(written, Written), written
            files = render_all(one, formats, OPTIONS)
            right += [
                made.files == {f: MadeFile.of(data) for f, data in files.items()},
                made.segment_rows == segment_rows(one.segments),
                all((self.folder / f"{one.job_id}.{f}").read_bytes() == data for f, data in files.items()),
            ]
        for file in self.folder.iterdir():
            file.unlink()
        return all(right)

    def _made(self) -> None:
        self.made_here += 1


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.makers.close()


def test_a_batch_is_shared_and_the_processes_end_with_the_daemon(bench: Bench) -> None:
    processes = bench.processes()
    assert Path(f"/proc/{processes[0]}/comm").read_text() == f"{NAME}\n"
    assert bench.is_right()
    assert bench.made_here == 0
    with pytest.raises(KeyError, match="sub"):
        bench.is_right(formats=("txt", "sub"))
    (bench.folder / "2.txt").write_text("of another program")
    taken = [written for _, _, written in bench.work(jobs=3, formats=("txt", "srt"))]
    assert [type(one) for one in taken] == [Written, OutputTakenError, Written]
    error = taken[1]
    assert isinstance(error, OutputTakenError)
    assert (error.path, error.operation) == (bench.folder / "2.txt", "publish")
    assert {file.name for file in bench.folder.iterdir()} == {"1.txt", "1.srt", "2.txt", "3.txt", "3.srt"}
    for file in bench.folder.iterdir():
        file.unlink()
    assert bench.processes() == processes
    bench.makers.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)
    assert bench.is_right(jobs=1), "what is left is made here"
    assert bench.made_here == 1


def test_a_large_batch_leaves_processes_for_another_one_beside_it(tmp_path: Path) -> None:
    bench = Bench(tmp_path, parts=2)
    said = [replace(talk(), job_id=job) for job in range(9 * SHARE)]
    orders = [Order(one, ("txt",), OPTIONS, "", rows=False) for one in said]
    with ThreadPoolExecutor(WRITERS) as writers:
        here = FileMaker(writers, _watch, bench._made)
        with (
            bench.makers.team(len(orders), here, _watch, lambda: None) as one,
            bench.makers.team(len(orders), here, _watch, lambda: None) as other,
        ):
            made = [*one.render(orders), *other.render(orders)]
    assert all(isinstance(answer, Made) for answer in made)
    assert bench.made_here == 0, "each batch has a process"
    bench.makers.close()


def test_a_killed_process_costs_no_transcript_and_is_replaced(bench: Bench) -> None:
    before = bench.processes()
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    assert bench.is_right()
    assert bench.processes() == [], "not at once: it may be killed again and again"
    assert bench.made_here == 2 * SHARE
    bench.now += RESTART_S
    assert bench.is_right()
    after = bench.processes()
    assert after
    assert not set(after) & set(before)


def test_a_process_that_does_not_answer_is_stopped_or_ends_after_the_batch(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "LONGEST_S", 2.0)
    monkeypatch.setattr(teams, "_LOOK_S", 0.05)
    monkeypatch.setattr(teams, "_END_S", 0.1)
    one, other = bench.processes()
    os.kill(one, signal.SIGSTOP)
    assert bench.is_right()
    assert bench.processes() == [other]
    wait_until(lambda: not Path(f"/proc/{one}").exists(), "it is gone")
    monkeypatch.setattr(teams, "LONGEST_S", 100.0)
    os.kill(other, signal.SIGSTOP)
    right: list[bool] = []
    thread = threading.Thread(target=lambda: right.append(bench.is_right()))
    thread.start()
    wait_until(lambda: len(bench.makers._idle) < 2, "it is used")
    bench.makers.close()
    os.kill(other, signal.SIGCONT)
    thread.join()
    assert right == [True]
    assert bench.processes() == []


def test_nobody_waits_for_processes_that_wait_for_a_file_system(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "SLOW_S", 0.05)
    monkeypatch.setattr(teams, "_LOOK_S", 0.05)
    for pid in bench.processes():
        os.kill(pid, signal.SIGSTOP)
    right: list[bool] = []
    thread = threading.Thread(target=lambda: right.append(bench.is_right()))
    thread.start()
    children = [place.child for place in bench.makers._places]
    wait_until(lambda: bench.makers._idle == [], "all are used")
    wait_until(lambda: all(c is not None and c.is_slow() for c in children), "they are known as slow")
    here = FileMaker(ThreadPoolExecutor(1), _watch)
    with bench.makers.team(8, here, _watch, lambda: None) as team:
        assert isinstance(team.render([Order(talk(), ("txt",), OPTIONS, "", rows=False)])[0], Made)
    for pid in bench.processes():
        os.kill(pid, signal.SIGCONT)
    thread.join()
    assert right == [True]


def test_a_lane_makes_progress_while_processes_render(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else its file system counts as slow, and a stop of the daemon does not wait for the batch."""
    monkeypatch.setattr(teams, "LONGEST_S", 1.0)
    monkeypatch.setattr(teams, "_LOOK_S", 0.05)
    monkeypatch.setattr(teams, "_END_S", 0.1)
    for pid in bench.processes():
        os.kill(pid, signal.SIGSTOP)
    marks: list[None] = []
    here = FileMaker(ThreadPoolExecutor(1), _watch)
    with bench.makers.team(SHARE, here, _watch, lambda: marks.append(None)) as team:
        team.render([Order(talk(), ("txt",), OPTIONS, "", rows=False)])
    assert len(marks) >= 5


def test_a_process_that_does_not_read_a_long_message_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teams, "LONGEST_S", 1.0)
    monkeypatch.setattr(teams, "_END_S", 0.1)
    bench = Bench(tmp_path)
    for pid in bench.processes():
        os.kill(pid, signal.SIGSTOP)
    said = talk()
    long = replace(said, segments=tuple(replace(said.segments[0], index=i) for i in range(20_000)))
    here = FileMaker(ThreadPoolExecutor(1), _watch)
    with bench.makers.team(1, here, _watch, lambda: None) as team:
        assert isinstance(team.render([Order(long, ("txt",), OPTIONS, "", rows=False)])[0], Made)
    assert len(bench.processes()) == 1
    bench.makers.close()


def test_after_an_error_no_answer_is_taken_for_that_to_another_question(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Child, "receive", _unreadable)
        with pytest.raises(RuntimeError, match="unreadable"):
            bench.work(2 * SHARE, FORMATS)
    assert bench.processes() == []
    bench.now += RESTART_S
    assert bench.is_right()


def _unreadable(_: Child) -> list[Any] | None:
    raise RuntimeError("unreadable")


def _lost_before(real: Callable[..., Any], child: Child, step: str, argument: Any) -> None:
    if step == "write":
        raise BrokenPipeError
    real(child, step, argument)


def _lost_after(real: Callable[..., Any], child: Child, step: str, argument: Any) -> None:
    real(child, step, argument)
    if step == "write":
        # It writes all of it; that is never known.
        child._pipe.poll(None)
        os.kill(child.pid, signal.SIGKILL)
        child._pipe.recv_bytes()


@pytest.mark.parametrize("lost", [_lost_before, _lost_after])
def test_jobs_whose_process_is_lost_while_it_writes_are_published_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: Callable[..., None]
) -> None:
    """By a process, or by the daemon until there is another one; without recognising anything again."""
    house = House(tmp_path, processes=2).make()
    real = Child.ask
    losses: list[str] = []

    def ask(child: Child, step: str, argument: Any) -> None:
        if losses or step != "write":
            real(child, step, argument)
        else:
            losses.append(step)
            lost(real, child, step, argument)

    monkeypatch.setattr(Child, "ask", ask)
    monkeypatch.setattr(Makers, "start", _started)
    texts = {f"{i}.wav": f"第{i}段" for i in range(6)}
    for name, text in texts.items():
        house.admit(name, text)
    house.run()
    assert losses == ["write"]
    assert house.states() == {"done"}
    assert sorted(house.recognised) == sorted(texts)
    for name, text in texts.items():
        assert text in (house.inbox / name).with_suffix(".txt").read_text(encoding="utf-8")
    assert len(house.visible()) == 5 * len(texts)
    assert house.rows("select 1 from outputs where published = 0") == []
    assert not list(house.inbox.glob(".*"))


_start = Makers.start


def _started(makers: Makers) -> None:
    """Start the processes and wait for them, so that the first batch is theirs."""
    _start(makers)
    for place in makers._places:
        assert place.child is not None
        wait_until(place.child.is_ready, "the process has started")


def test_names_of_groups_beside_each_other_differ_before_they_are_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The JSON file of `talk.timing.wav` would have the name of the timing log of `talk.wav`."""
    house = House(tmp_path, processes=2).make()
    ask, plan = Child.ask, publisher.plan_outputs  # type: ignore[attr-defined]
    writing, planned = threading.Event(), threading.Event()

    def waiting(child: Child, step: str, argument: Any) -> None:
        if step == "write" and not writing.is_set():
            writing.set()
            house.admit("talk.timing.wav", "的")
            assert planned.wait(20.0), "no other group is planned"
        ask(child, step, argument)

    def planning(*given: Any, **named: Any) -> OutputPlan:
        made = plan(*given, **named)
        if writing.is_set():
            planned.set()
        return made

    monkeypatch.setattr(Child, "ask", waiting)
    monkeypatch.setattr(publisher, "plan_outputs", planning)
    # Every plan reads the directory.
    monkeypatch.setattr(directory_cache, "FRESH_S", -1.0)
    monkeypatch.setattr(directory_cache, "FRESH_TIMES", 0.0)
    monkeypatch.setattr(Makers, "start", _started)
    house.admit("talk.wav", "不")
    house.run(turns=10_000)
    assert house.states() == {"done"}
    assert house.rows("select distinct attempts from jobs") == [(1,)], "none is planned again"
    assert len(house.visible()) == 2 * 5


def test_a_lane_makes_progress_with_each_result_that_it_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = House(tmp_path, processes=0).make()
    marks: list[str] = []
    order, working = Publisher._order, Activity.working

    def ordered(publisher: Publisher, ready: Ready, orders: Orders) -> Ordered:
        marks.append("order")
        return order(publisher, ready, orders)

    def worked(activity: Activity) -> None:
        marks.append("working")
        working(activity)

    monkeypatch.setattr(Publisher, "_order", ordered)
    monkeypatch.setattr(Activity, "working", worked)
    for i in range(4):
        house.admit(f"{i}.wav", f"第{i}段")
    house.run()
    assert marks.count("order") == 4
    assert ("order", "order") not in set(pairwise(marks))
