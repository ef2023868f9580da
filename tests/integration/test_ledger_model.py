"""Property test: the ledger and a model of it have the same states after any sequence of calls."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dropscribe.errors import StaleLeaseError
from dropscribe.ledger.control import Change
from dropscribe.ledger.events import EventKind, Subscription
from dropscribe.ledger.lone_trials import is_last, wait_after
from dropscribe.ledger.outbox import Message, MessageState
from dropscribe.ledger.records import Claim, JobState, Killed, Recovered
from dropscribe.ledger.sql.jobs.transitions import LEGAL, RETRIED
from tests.integration.conftest import Locate
from tests.support.ledgers import FOLDER, LEASE_S, admission, finish_of, open_ledger


@dataclass
class ModelJob:
    """Expected state of a job by the contract of `Ledger`."""

    path: str
    content: str
    max_attempts: int
    state: JobState = JobState.QUEUED
    attempts: int = 0
    generation: int = 0
    lease_until: float = 0.0
    not_before: float = 0.0
    isolate: bool = False
    begun: bool = False
    lone_deaths: int = 0
    others_done: bool = False
    reference: int | None = None
    #: Its result is on record, published or not.
    recognised: bool = False
    #: Number of failed publications.
    unpublished: int = 0
    #: Cancelled because the file was removed or changed.
    absent: bool = False
    #: Cancelled because the file was changed.
    changed: bool = False
    folder: str = "one"
    priority: int = 0
    given: bool = False
    seen: list[JobState] = field(default_factory=list)

    @property
    def attempt(self) -> int:
        """Number of the attempt under way."""
        return self.attempts + (not self.begun)

    @property
    def has_result(self) -> bool:
        """Whether it has a result of its own, which others may use."""
        return self.recognised and self.reference is None

    def become(self, state: JobState) -> None:
        self.state = state
        self.seen.append(state)


def folder_of(path: str) -> Path:
    """The watched folder of a path: two, so that they share claims."""
    return FOLDER / ("two" if path == "c" else "one")


@dataclass
class ModelMessage:
    """Expected state of a message that was claimed."""

    events: tuple[int, ...]
    tries: int
    lease_until: float
    state: MessageState = MessageState.PENDING


#: Both want the same events; the second one collects them for a while.
SUBSCRIPTIONS = (
    Subscription("each", frozenset({EventKind.DONE, EventKind.FAILED})),
    Subscription("digest", frozenset({EventKind.DONE, EventKind.FAILED}), digest_s=40.0),
)
FINAL = {JobState.DONE, JobState.FAILED, JobState.CANCELLED}


class LedgerMachine(RuleBasedStateMachine):
    """Few paths, contents and workers, so that calls interact."""

    def __init__(self, locate: Locate) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-model-"))
        self.locate = locate
        self.location = locate(self.folder)
        self.ledger = open_ledger(self.location)
        self.now = 1_000.0
        self.jobs: dict[int, ModelJob] = {}
        self.latest: dict[str, str] = {}
        #: Folders whose jobs are not claimed; None: all of them.
        self.paused: set[str | None] = set()
        #: All claims ever returned, including ended ones.
        self.claims: list[Claim] = []
        #: By uid.
        self.messages: dict[str, ModelMessage] = {}
        self.ledger.subscribe(SUBSCRIPTIONS)

    def teardown(self) -> None:
        try:
            self.each_end_of_a_job_is_in_the_outbox_once()
            # After any sequence of calls the totals are the sums over the jobs.
            assert self.ledger.wrong_totals() == {}
        finally:
            self.ledger.close()
            self.locate.release()
            shutil.rmtree(self.folder)

    @initialize()
    def start(self) -> None:
        assert self.ledger.counts() == dict.fromkeys(JobState, 0)

    @rule(seconds=st.sampled_from([1.0, 30.0, LEASE_S + 1]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(path=st.sampled_from(["a", "b", "c"]), content=st.sampled_from(["x", "y"]), tries=st.integers(1, 3))
    def admit(self, path: str, content: str, tries: int) -> None:
        (made,) = self.ledger.admit(
            [
                admission(
                    path, content, max_attempts=tries, folder=folder_of(path), path=folder_of(path) / path
                )
            ],
            self.now,
        )
        standing = [
            n
            for n, j in self.jobs.items()
            if j.path == path
            and j.content == content
            and self.latest[path] == content
            and not j.absent
            and not self.was_superseded(n)
        ]
        assert made.created is not bool(standing)
        if standing:
            assert made.job_id == standing[-1]
            return
        assert made.job_id not in self.jobs
        for job in self.jobs.values():
            if job.path == path and self.latest[path] != content and job.state not in FINAL:
                job.become(JobState.CANCELLED)
                job.absent = job.changed = True
        self.latest[path] = content
        self.jobs[made.job_id] = ModelJob(path, content, tries, folder=folder_of(path).name)

    def was_superseded(self, number: int) -> bool:
        """True if its path has had other content since this job was admitted."""
        mine = self.jobs[number]
        return any(
            n > number and j.path == mine.path and j.content != mine.content for n, j in self.jobs.items()
        )

    def is_open(self, job: ModelJob) -> bool:
        return None not in self.paused and job.folder not in self.paused

    def eligible(self, *, isolate: bool) -> list[int]:
        """Jobs that may be claimed, of every folder in the order of its queue."""
        out = []
        for n, j in sorted(self.jobs.items()):
            ready = j.state is JobState.QUEUED and j.not_before <= self.now and self.is_open(j)
            twin = any(
                m != n
                and o.content == j.content
                and (
                    o.state is JobState.RUNNING
                    or (
                        o.state is JobState.QUEUED and self.is_open(o) and (-o.priority, m) < (-j.priority, n)
                    )
                )
                for m, o in self.jobs.items()
            ) and not any(o.content == j.content and o.has_result for o in self.jobs.values())
            if j.isolate is isolate and ready and not twin:
                out.append(n)
        if isolate:
            return sorted(out, key=lambda n: (self.jobs[n].not_before, n))
        return sorted(out, key=self.rank)

    def rank(self, number: int) -> tuple[int, int, int]:
        job = self.jobs[number]
        return job.unpublished, -job.priority, number

    def is_fair(self, got: list[int], limit: int) -> bool:
        """Whether `got` are the first of each folder's queue, none of a later rank before one of an earlier."""
        eligible = self.eligible(isolate=False)
        ranks = [self.rank(n)[:2] for n in eligible]
        folders = {self.jobs[n].folder for n in eligible}
        first = all(
            queue[: len(mine)] == mine
            for f in folders
            for mine in [[n for n in got if self.jobs[n].folder == f]]
            for queue in [[n for n in eligible if self.jobs[n].folder == f]]
        )
        return first and [self.rank(n)[:2] for n in got] == ranks[: min(limit, len(eligible))]

    @rule(limit=st.integers(1, 3), isolated=st.booleans())
    def claim(self, limit: int, *, isolated: bool) -> None:
        got = self.ledger.claim("w", limit, self.now, LEASE_S, allow_isolated=isolated)
        self.put_back(
            [j for j in self.jobs.values() if j.state is JobState.RUNNING and j.lease_until < self.now]
        )
        expected = self.eligible(isolate=True)[:1] if isolated else []
        if expected:
            assert [c.job_id for c in got] == expected
        else:
            assert self.is_fair([c.job_id for c in got], limit)
        for c in got:
            job = self.jobs[c.job_id]
            job.become(JobState.RUNNING)
            job.begun = False
            job.generation += 1
            job.lease_until = self.now + LEASE_S
            done = [n for n, o in self.jobs.items() if o.content == job.content and o.has_result]
            assert (c.generation, c.attempt, c.reference, c.unpublished) == (
                job.generation, job.attempts + 1, c.job_id if job.recognised else max(done, default=None),
                job.unpublished,
            )  # fmt: skip
            assert (c.isolate, c.lone_deaths, c.others_done) == (
                job.isolate, job.lone_deaths, job.others_done,
            )  # fmt: skip
            self.claims.append(c)

    def put_back(self, jobs: list[ModelJob]) -> Recovered:
        """Apply the loss of the worker to these jobs."""
        begun = [j for j in jobs if j.begun and not j.recognised]
        if any(not j.isolate for j in begun):
            self.exonerate()
        failed = 0
        for job in jobs:
            if not job.begun or job.recognised:
                job.attempts -= job.begun
                job.not_before = min(job.not_before, self.now)
                job.become(JobState.QUEUED)
                continue
            job.lone_deaths = job.lone_deaths + 1 if job.isolate else 0
            if job.lone_deaths and is_last(job.lone_deaths, others_done=job.others_done):
                job.become(JobState.FAILED)
                failed += 1
                continue
            job.attempts -= 1
            job.isolate = True
            job.others_done = job.others_done and job.lone_deaths > 1
            job.not_before = self.now + (wait_after(job.lone_deaths) if job.lone_deaths else 0.0)
            job.become(JobState.QUEUED)
        return Recovered(len(jobs) - len(begun), len(begun) - failed, failed)

    def exonerate(self) -> None:
        for job in self.lone_suspects():
            job.lone_deaths, job.others_done = 0, False

    def lone_suspects(self) -> list[ModelJob]:
        """Queued isolated jobs with lone deaths."""
        return [j for j in self.jobs.values() if j.state is JobState.QUEUED and j.isolate and j.lone_deaths]

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(self.claims), unique_by=lambda c: c.job_id))
        lost = self.ledger.begin([(c.job_id, c.generation) for c in some])
        assert lost == {c.job_id for c in some if not self.ours(c)}
        for c in some:
            if self.ours(c):
                job = self.jobs[c.job_id]
                job.attempts, job.begun = job.attempt, True

    def ours(self, claim: Claim) -> bool:
        job = self.jobs[claim.job_id]
        return job.state is JobState.RUNNING and job.generation == claim.generation

    def attempt(self, claim: Claim, call: Any, state: JobState) -> None:
        """Assert that `call` succeeds exactly if the claim is current, and apply `state`."""
        held = self.ours(claim)
        try:
            call()
        except StaleLeaseError:
            assert not held
        else:
            assert held
            self.jobs[claim.job_id].become(state)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        held = self.ours(claim)
        job = self.jobs[claim.job_id]
        # Repeating the call for the same claim changes nothing: the commit of a refused call may stand.
        done_by_it = job.state is JobState.DONE and job.generation == claim.generation
        reference = None if claim.reference == claim.job_id else claim.reference
        refused = self.ledger.finish([finish_of(claim, "一", reference=reference)], self.now)
        assert refused == ([] if held or done_by_it else [claim.job_id])
        if held:
            job.attempts = job.attempt
            job.become(JobState.DONE)
            job.reference, job.recognised = reference, True
            if reference is None:
                for other in self.lone_suspects():
                    other.others_done = True

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        if claim.reference is None:
            self.ledger.keep([finish_of(claim, "一")], self.now)
            self.jobs[claim.job_id].recognised |= self.ours(claim)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        job, held = self.jobs[claim.job_id], self.ours(claim)
        self.attempt(
            claim,
            lambda: self.ledger.fail(
                claim.job_id, claim.generation, self.now, code="c", reason="r", remedy=""
            ),
            JobState.FAILED,
        )
        if held:
            job.attempts = job.attempt

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(), refund=st.booleans(), isolate=st.booleans(), unpublished=st.booleans(),
        wait=st.sampled_from([0.0, 40.0]),
    )  # fmt: skip
    def release(
        self, data: st.DataObject, wait: float, *, refund: bool, isolate: bool, unpublished: bool
    ) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        job, held = self.jobs[claim.job_id], self.ours(claim)
        spent = not refund and job.attempt >= job.max_attempts
        self.attempt(
            claim,
            lambda: self.ledger.release(
                claim.job_id, claim.generation, self.now,
                not_before=self.now + wait, refund=refund, isolate=isolate, code="c", reason="r",
                unpublished=unpublished,
            ),
            JobState.FAILED if spent else JobState.QUEUED,
        )  # fmt: skip
        if held:
            job.attempts = job.attempt - refund
            job.isolate = isolate
            job.unpublished += unpublished
            job.not_before = self.now + wait

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def decoder_killed(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        job, held = self.jobs[claim.job_id], self.ours(claim)
        killed = Killed.ALONE if claim.isolate else Killed.AMONG_OTHERS
        self.attempt(
            claim,
            lambda: self.ledger.release(
                claim.job_id, claim.generation, self.now,
                not_before=self.now, refund=True, isolate=True, code="c", reason="r", killed=killed,
            ),
            JobState.QUEUED,
        )  # fmt: skip
        if held:
            job.attempts = job.attempt - 1
            job.isolate, job.not_before = True, self.now
            if killed is Killed.ALONE:
                job.others_done = job.others_done and job.lone_deaths > 0
                job.lone_deaths += 1
            else:
                self.exonerate()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        over = self.jobs[number].state in FINAL
        try:
            self.ledger.cancel(number, self.now, "not wanted")
        except StaleLeaseError:
            assert over
        else:
            assert not over
            self.jobs[number].become(JobState.CANCELLED)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[number]
        (answer,) = self.ledger.retry([number], self.now, "anna")
        found = job.state
        current = self.latest[job.path] == job.content and not self.was_superseded(number)
        newer = any(n > number and self.same_recording(n, number) for n in self.jobs)
        if found in {JobState.FAILED, JobState.CANCELLED} and current and not newer and not job.changed:
            job.become(JobState.QUEUED)
            job.attempts = job.lone_deaths = job.unpublished = 0
            job.others_done = job.isolate = job.absent = False
            job.not_before = 0.0
        elif found is JobState.QUEUED and job.not_before > self.now:
            job.not_before, job.lone_deaths, job.others_done = 0.0, 0, False
        else:
            assert answer.reason
            assert not answer.changed
        self.told(answer, found, job)

    def same_recording(self, one: int, other: int) -> bool:
        a, b = self.jobs[one], self.jobs[other]
        return (a.path, a.content) == (b.path, b.content) and not self.was_superseded(other)

    def told(self, answer: Change, found: JobState, job: ModelJob) -> None:
        """The answer names the state found and the state made, and is in the history."""
        assert (answer.found, answer.made) == (found.value, job.state.value)
        newest = self.ledger.actions(limit=1)[0]
        assert (newest.who, newest.job_id, newest.found, newest.made) == (
            "anna", answer.job_id, answer.found, answer.made,
        )  # fmt: skip

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def cancel_on_request(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[number]
        (answer,) = self.ledger.cancel_jobs([number], self.now, "anna")
        found = job.state
        assert answer.changed is (found not in FINAL)
        if answer.changed:
            job.become(JobState.CANCELLED)
        self.told(answer, found, job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), priority=st.integers(-1, 2))
    def prioritise(self, data: st.DataObject, priority: int) -> None:
        number = data.draw(st.sampled_from(sorted(self.jobs)))
        job = self.jobs[number]
        self.ledger.prioritise([number], priority, self.now, "anna")
        if job.state not in FINAL:
            job.priority, job.given = priority, True

    @rule(priority=st.integers(-1, 2), folder=st.sampled_from(["one", "two"]))
    def reload_priority(self, priority: int, folder: str) -> None:
        self.ledger.apply_priorities({FOLDER / folder: priority})
        for job in self.jobs.values():
            if job.folder == folder and job.state is JobState.QUEUED and not job.given:
                job.priority = priority

    @rule(folder=st.sampled_from(["one", "two", None]), pausing=st.booleans())
    def pause_or_resume(self, folder: str | None, *, pausing: bool) -> None:
        place = None if folder is None else FOLDER / folder
        call = self.ledger.pause if pausing else self.ledger.resume_folder
        found = call(place, self.now, "anna")
        assert (found is not None) is (folder in self.paused)
        (self.paused.add if pausing else self.paused.discard)(folder)

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def unclaim(self, data: st.DataObject) -> None:
        claim = data.draw(st.sampled_from(self.claims))
        job = self.jobs[claim.job_id]
        # The caller does so before a decoder has the recording; a kept result came later.
        if not job.recognised:
            held = self.ours(claim)
            self.ledger.unclaim([(claim.job_id, claim.generation)])
            if held:
                job.attempts -= job.begun
                job.begun = False
                job.become(JobState.QUEUED)

    @rule(path=st.sampled_from(["a", "b", "c"]))
    def gone(self, path: str) -> None:
        unfinished = [n for n, j in self.jobs.items() if j.path == path and j.state not in FINAL]
        assert self.ledger.cancel_gone(folder_of(path) / path, self.now, "removed") == unfinished
        for n in unfinished:
            self.jobs[n].become(JobState.CANCELLED)
            self.jobs[n].absent = True

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        some = data.draw(st.lists(st.sampled_from(self.claims), unique_by=lambda c: c.job_id))
        lost = self.ledger.heartbeat([(c.job_id, c.generation) for c in some], self.now, LEASE_S)
        assert lost == {c.job_id for c in some if not self.ours(c)}
        for c in some:
            if self.ours(c):
                self.jobs[c.job_id].lease_until = self.now + LEASE_S

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = open_ledger(self.location)
        self.ledger.subscribe(SUBSCRIPTIONS)
        running = [j for j in self.jobs.values() if j.state is JobState.RUNNING]
        recovered = self.ledger.recover(self.now)
        assert recovered == self.put_back(running)
        self.ledger.defer_lone_trials(self.now)
        for job in self.lone_suspects():
            job.not_before = self.now + wait_after(job.lone_deaths)

    @rule(limit=st.integers(1, 3))
    def claim_messages(self, limit: int) -> None:
        limits = {s.target: limit for s in SUBSCRIPTIONS}
        for got in self.ledger.outbox.claim("sender", self.now, LEASE_S, limits):
            events = tuple(e.id for e in got.events)
            before = self.messages.setdefault(got.uid, ModelMessage(events, 0, -1.0))
            assert before.state is MessageState.PENDING
            assert before.lease_until < self.now
            assert (before.events, before.tries + 1) == (events, got.tries)
            before.tries, before.lease_until = got.tries, self.now + LEASE_S

    @precondition(lambda self: self.messages)
    @rule(data=st.data(), stale=st.booleans(), end=st.sampled_from(["sent", "postponed", "failed"]))
    def end_message(self, data: st.DataObject, end: str, *, stale: bool) -> None:
        uid = data.draw(st.sampled_from(sorted(self.messages)))
        known = self.messages[uid]
        message = Message(uid, "", known.tries - stale, digest=False, events=())
        box = self.ledger.outbox
        if end == "sent":
            ours = box.sent(message, self.now)
        elif end == "postponed":
            ours = box.postpone(message, self.now, "busy")
        else:
            ours = box.give_up(message, self.now, "refused")
        assert ours is (not stale and known.state is MessageState.PENDING)
        if ours:
            known.lease_until = -1.0
            known.state = {"sent": MessageState.SENT, "failed": MessageState.FAILED}.get(end, known.state)

    def each_end_of_a_job_is_in_the_outbox_once(self) -> None:
        """Asked at the end, because events stay: once for all steps."""
        found = self.ledger.outbox.messages(states=tuple(MessageState), limit=10_000)
        expected = sorted(
            (s.target, n, state.value)
            for s in SUBSCRIPTIONS
            for n, job in self.jobs.items()
            for state in job.seen
            if state in {JobState.DONE, JobState.FAILED}
        )
        assert sorted((m.target, m.job_id, m.kind.value) for m in found) == expected
        numbers = {i: uid for uid, m in self.messages.items() for i in m.events}
        assert {m.id: m.uid for m in found if m.id in numbers} == numbers

    @invariant()
    def they_agree(self) -> None:
        found = {j.id: j for j in self.ledger.jobs(limit=1_000)}
        assert {n: (j.state, j.attempts, j.priority) for n, j in found.items()} == {
            n: (j.state, j.attempts, j.priority) for n, j in self.jobs.items()
        }
        for n, job in self.jobs.items():
            stored = self.ledger.stored_result(n)
            assert (stored is not None) is job.recognised
            assert stored is None or len(stored.segments) == 1

    @invariant()
    def every_change_was_legal(self) -> None:
        for job in self.jobs.values():
            path = [JobState.QUEUED, *job.seen]
            assert all(b in LEGAL[a] | RETRIED.get(a, frozenset()) for a, b in pairwise(path))

    @invariant()
    def what_is_over_has_an_end(self) -> None:
        for job in self.ledger.jobs(limit=1_000):
            assert (job.finished_at is not None) is (job.state in FINAL)
            assert job.state not in {JobState.FAILED, JobState.CANCELLED} or job.reason


@pytest.mark.parametrize("examples", [15, pytest.param(60, marks=pytest.mark.soak)])
def test_the_ledger_agrees_with_its_model(locate: Locate, examples: int) -> None:
    class Machine(LedgerMachine):
        def __init__(self) -> None:
            super().__init__(locate)

    bounds = settings(
        max_examples=examples, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Machine, settings=bounds)
