"""Property test: renames, moves, retention and purges in any order, against a model of what is on record."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dropscribe.files import FileSignature
from dropscribe.ledger.records import JobState, Redo
from tests.integration.conftest import Locate
from tests.support.ledgers import FOLDER, admission, claim_all, finish_of, open_ledger

PATHS = ("a", "b", "c")
SIGNATURE = FileSignature(1_000, 10, 7)


@dataclass
class Recorded:
    """A content at a path, and its jobs in order. `departure` as in `recordings`."""

    content: str
    jobs: list[int] = field(default_factory=list)
    departure: str | None = None
    purged: bool = False


class KeepingMachine(RuleBasedStateMachine):
    """Every job is done at once, so that the model is that of finished recordings."""

    def __init__(self, locate: Locate) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="keeping-model-"))
        self.locate = locate
        self.location = locate(self.folder)
        self.ledger = open_ledger(self.location)
        self.now = 1_000.0
        self.at: dict[str, Recorded] = {}
        self.contents: dict[int, str] = {}
        #: Job → the job whose words it uses; words that are on record.
        self.origin: dict[int, int] = {}
        self.words: set[int] = set()
        self.shared: set[int] = set()

    def teardown(self) -> None:
        self.ledger.close()
        self.locate.release()
        shutil.rmtree(self.folder)

    def finish(self, job: int, content: str) -> None:
        (claim,) = claim_all(self.ledger, self.now)
        expected = max((n for n in self.shared if self.contents[n] == content), default=None)
        assert claim.job_id == job
        if claim.result_given:
            assert claim.reference in self.words
        else:
            assert claim.reference == expected, "words that were removed are never used"
        assert self.ledger.finish([finish_of(claim, content, reference=claim.reference)], self.now) == []
        self.origin[job] = job if claim.reference is None else claim.reference
        if claim.reference is None:
            self.words.add(job)

    @rule(path=st.sampled_from(PATHS), content=st.sampled_from("xy"))
    def drop(self, path: str, content: str) -> None:
        self.now += 1
        (made,) = self.ledger.admit([admission(path, content)], self.now)
        there = self.at.get(path)
        if there is not None and there.content == content:
            assert (made.created, made.job_id in there.jobs) == (False, True)
            if there.departure in {"moved", "deleted"}:
                there.departure = None
            return
        assert made.created
        self.at[path] = Recorded(content, [made.job_id])
        self.contents[made.job_id] = content
        self.finish(made.job_id, content)
        if self.origin[made.job_id] == made.job_id:
            self.shared.add(made.job_id)

    @rule(path=st.sampled_from(PATHS), to=st.sampled_from(PATHS))
    def rename(self, path: str, to: str) -> None:
        one = self.at.get(path)
        if one is None or path == to or (to in self.at and self.at[to].content == one.content):
            return
        self.now += 1
        on_record = self.ledger.keeping.on_record([(SIGNATURE, f"sha-{one.content}")])
        candidates = self.ledger.keeping.rename_candidates(FOLDER / to, SIGNATURE, f"sha-{one.content}")
        assert on_record == [bool(candidates)]
        mine = [c for c in candidates if c.path == FOLDER / path]
        assert bool(mine) is (one.departure is None)
        if not mine:
            return
        (made,) = self.ledger.admit([admission(to, one.content, renamed_from=mine[0].recording_id)], self.now)
        assert (made.created, made.renamed, made.job_id in one.jobs) == (False, True, True)
        self.at[to] = self.at.pop(path)
        for following in self.ledger.keeping.following(10):
            self.ledger.keeping.followed(following, [], complete=True)

    @precondition(lambda self: self.origin)
    @rule(data=st.data())
    def remove_text(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(sorted(self.origin)))
        assert self.ledger.keeping.remove_text(
            [job], self.now, finished_before={"default": self.now}, most=10
        ) == [job]
        if self.origin[job] == job:
            self.words.discard(job)
            self.shared.discard(job)

    @precondition(lambda self: self.at)
    @rule(data=st.data(), delete=st.booleans(), done=st.booleans())
    def leave(self, data: st.DataObject, *, delete: bool, done: bool) -> None:
        path = data.draw(st.sampled_from(sorted(self.at)))
        one = self.at[path]
        found = self.ledger.keeping.depart(one.jobs[-1], None if delete else Path("/out") / path, self.now)
        assert (found is not None) is (one.departure is None and not one.purged)
        if found is None:
            return
        assert [d.path for d in self.ledger.keeping.departures()] == [FOLDER / path]
        if done:
            self.ledger.keeping.departed(found.recording_id, self.now, outputs_follow=False)
            one.departure = "deleted" if delete else "moved"
        else:
            self.ledger.keeping.stayed(found.recording_id)
        assert self.ledger.keeping.departures() == []

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def redo(self, data: st.DataObject) -> None:
        one = self.at[data.draw(st.sampled_from(sorted(self.at)))]
        job = one.jobs[-1]
        (again,) = self.ledger.redo(
            [Redo(job, "default", "mini|vad", share_result=False, max_attempts=3)], self.now
        )
        assert (again.new_job_id is not None) is (one.departure is None)
        if again.new_job_id is None:
            return
        assert again.from_tokens is (self.origin.get(job) in self.words)
        one.jobs.append(again.new_job_id)
        self.contents[again.new_job_id] = one.content
        (claim,) = claim_all(self.ledger, self.now)
        assert claim.reference == (self.origin[job] if again.from_tokens else None)
        self.ledger.finish([finish_of(claim, one.content, reference=claim.reference)], self.now)
        self.origin[claim.job_id] = claim.reference or claim.job_id
        if claim.reference is None:
            self.words.add(claim.job_id)

    @precondition(lambda self: self.at)
    @rule(data=st.data())
    def purge(self, data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(sorted(self.at)))
        plans = self.ledger.keeping.purge_plans(self.at[path].jobs[0])
        assert plans[0].path == FOLDER / path
        self.ledger.keeping.purge([p.recording_id for p in plans], self.now)
        content = self.at[path].content
        for plan in plans:
            there = self.at.get(str(plan.path.relative_to(FOLDER)))
            if there is not None and there.content == content:
                there.purged = True
            for job in plan.jobs:
                self.words.discard(job.job_id)
                self.shared.discard(job.job_id)
                self.origin.pop(job.job_id, None)

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = open_ledger(self.location)
        self.ledger.recover(self.now)

    @invariant()
    def the_paths_are_those_of_the_model(self) -> None:
        known = [r.path for r in self.ledger.known(FOLDER)]
        assert sorted(known) == sorted(str(FOLDER / path) for path in self.at)

    @invariant()
    def words_are_there_or_gone_as_a_whole(self) -> None:
        for job in self.contents:
            stored = self.ledger.stored_result(job)
            assert (stored is not None) is (self.origin.get(job) in self.words)
            assert stored is None or len(stored.segments) == 1

    @invariant()
    def every_job_is_still_done(self) -> None:
        assert {j.id: j.state for j in self.ledger.jobs(limit=1_000)} == dict.fromkeys(
            self.contents, JobState.DONE
        )


@pytest.mark.costly
@pytest.mark.parametrize("examples", [8, pytest.param(30, marks=pytest.mark.soak)])
def test_what_is_kept_agrees_with_its_model(locate: Locate, examples: int) -> None:
    class Machine(KeepingMachine):
        def __init__(self) -> None:
            super().__init__(locate)

    bounds = settings(
        max_examples=examples, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(Machine, settings=bounds)
