"""Several hosts on one database: whose a path is, who may claim, recover and care for what, and by which clock."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dropscribe.errors import AlreadyRunningError
from dropscribe.ledger import backend
from dropscribe.ledger.columns import Places, below, raw
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.questions import JobFilter, Part, TotalsFilter, named_folder
from dropscribe.ledger.records import OutputIntent
from dropscribe.views.status import problems, read_process
from dropscribe.web.app import build
from dropscribe.web.security import Rules
from dropscribe.web.site import Site
from tests.support.daemon_process import wait_until
from tests.support.ledgers import FOLDER, LEASE_S, admission, finish_of, intend, open_ledger, query

#: The shared folder, which the hosts have mounted at different places.
HERE, THERE = Path("/mnt/nas"), Path("/srv/share")
A, B, C = Places("a", (("nas", HERE),)), Places("b", (("nas", THERE),)), Places()


@pytest.fixture
def hosts(there: DatabaseLocation) -> Iterator[tuple[Ledger, Ledger, Ledger]]:
    """Ledgers of hosts a, b and one without a name and without the shared folder; instants are the caller's."""
    with ExitStack() as stack:
        a, b, c = (stack.enter_context(closing(open_ledger(replace(there, places=p)))) for p in (A, B, C))
        yield a, b, c


def claimed(ledger: Ledger, host: str, now: float = 100.0) -> list[Path]:
    worker = f"{host}/box:1" if host else "box:1"
    return [c.path for c in ledger.claim(worker, 10, now, LEASE_S, allow_isolated=False)]


def test_places_of_a_host_and_of_a_shared_folder() -> None:
    assert A.key(raw(Path("/srv/drop/a.wav"))) == b"@a:/srv/drop/a.wav"
    assert A.key(raw(HERE / "x/a.wav")) == B.key(raw(THERE / "x/a.wav")) == b"@nas:/x/a.wav"
    assert B.path(b"@nas:/x/a.wav") == b"/srv/share/x/a.wav"
    assert B.path(b"@a:/srv/drop/a.wav") == b"@a:/srv/drop/a.wav", "of another host"
    assert A.key(raw(Path("/mnt/nas2/a.wav"))) == b"@a:/mnt/nas2/a.wav"
    assert tuple(map(A.key, below(HERE))) == (b"@nas:/", b"@nas:0")
    assert tuple(map(A.key, below(Path("/mnt")))) == (b"@a:/mnt/", b"@a:/mnt0")
    assert tuple(map(C.key, below(FOLDER))) == below(FOLDER)


def test_the_same_path_on_two_hosts_is_two_recordings(
    hosts: tuple[Ledger, Ledger, Ledger], there: DatabaseLocation
) -> None:
    a, b, c = hosts
    jobs = [
        ledger.admit([admission("a.wav", content)], 50.0)[0].job_id
        for content, ledger in zip("abc", hosts, strict=True)
    ]
    assert len(set(jobs)) == 3
    for host, ledger in zip(("a", "b", ""), hosts, strict=True):
        assert [k.path for k in ledger.known(FOLDER)] == [str(FOLDER / "a.wav")]
        assert claimed(ledger, host) == [FOLDER / "a.wav"]
    assert a.cancel_gone(FOLDER / "a.wav", 110.0, "gone") == [jobs[0]]
    states = query(there, "SELECT state FROM jobs ORDER BY id")
    assert [row["state"] for row in states] == ["cancelled", "running", "running"]
    found = b.jobs(limit=10)
    assert sorted(str(j.recording) for j in found) == [
        "/srv/drop/a.wav",
        "@:/srv/drop/a.wav",
        "@a:/srv/drop/a.wav",
    ]
    for of in ("@:", "@a:", ""):
        assert {str(j.folder) for j in b.jobs(folder=Path(f"{of}{FOLDER}"))} == {f"{of}{FOLDER}"}
    assert {str(j.folder) for j in b.jobs(folder=Path("@a:/"))} == {f"@a:{FOLDER}"}, "all of a host"
    assert b.job(jobs[2]).summary.recording == Path("@:/srv/drop/a.wav")  # type: ignore[union-attr]
    assert c.outputs_of(FOLDER / "a.wav") == []


def test_the_page_and_its_interface_list_the_jobs_of_one_host(
    hosts: tuple[Ledger, Ledger, Ledger], there: DatabaseLocation
) -> None:
    a, b, c = hosts
    for ledger, name in ((a, "of-a.wav"), (b, "of-b.wav"), (c, "of-c.wav")):
        ledger.admit([admission(name, name)], 50.0)
    address = "http://127.0.0.1:8970"
    with (
        Site(replace(there, places=A), None, Rules()) as site,
        TestClient(build(site), base_url=address) as client,
    ):
        for host, name in (("a", "of-a.wav"), ("b", "of-b.wav"), ("", "of-c.wav")):
            listed = client.get("/api/v1/jobs", params={"host": host}).json()["jobs"]
            assert [job["recording"].rpartition("/")[2] for job in listed] == [name]
        assert len(client.get("/api/v1/jobs").json()["jobs"]) == 3
        page = client.get("/", params={"host": "b"}).text
        assert ("of-b.wav" in page, "of-a.wav" in page) == (True, False)
        assert ('name="host"' in page) == bool(there.server), "a file has no hosts to choose from"
        assert "of-a.wav" in client.get("/", params={"host": ""}).text


def test_what_is_of_the_host_without_a_name_is_not_of_one_with_a_name(
    hosts: tuple[Ledger, Ledger, Ledger],
) -> None:
    a, b, c = hosts
    c.admit([admission("of-c.wav", "1")], 50.0)
    assert claimed(a, "a") == claimed(b, "b") == []
    assert a.cancel_gone(FOLDER / "of-c.wav", 60.0, "not here") == []
    a.admit([admission("of-a.wav", "2")], 50.0)
    c.pause(FOLDER, 60.0, "someone")
    assert [str(p.folder) for p in a.pauses()] == ["@:/srv/drop"]
    assert claimed(c, "") == []
    assert claimed(a, "a") == [FOLDER / "of-a.wav"]
    c.resume_folder(FOLDER, 61.0, "someone")
    a.pause(FOLDER, 61.0, "someone")
    assert claimed(c, "") == [FOLDER / "of-c.wav"]
    c.pause(None, 63.0, "someone", draining=True)
    b.pause(None, 63.0, "someone", draining=True)
    assert [(str(p.folder), p.draining) for p in a.pauses()] == [("/srv/drop", False)], "others are drained"
    assert [(p.folder, p.draining) for p in c.pauses() if p.draining] == [(None, True)]
    a.resume_folder(FOLDER, 64.0, "someone")
    a.admit([admission("more.wav", "3")], 64.0)
    assert claimed(a, "a") == [FOLDER / "more.wav"]
    assert a.retry([1], 62.0, "someone")[0].recording == Path("@:/srv/drop/of-c.wav")


def test_a_file_in_a_shared_folder_is_one_recording_and_its_files_are_known_to_both(
    hosts: tuple[Ledger, Ledger, Ledger],
) -> None:
    a, b, c = hosts
    (first,) = a.admit([admission(path=HERE / "a.wav", folder=HERE)], 50.0)
    (again,) = b.admit([admission(path=THERE / "a.wav", folder=THERE, recipe="another")], 51.0)
    assert (again.job_id, again.created) == (first.job_id, False)
    assert claimed(c, "") == [], "it cannot read the folder"
    (claim,) = b.claim("b/box:1", 10, 100.0, LEASE_S, allow_isolated=False)
    assert claim.path == THERE / "a.wav"
    assert claimed(a, "a") == []
    intend(b, claim, [OutputIntent("txt", THERE / "a.txt", "sha", None)], 101.0)
    assert b.finish([finish_of(claim, "words")], 102.0) == []
    assert [o.path for o in a.outputs_of(HERE / "a.wav")] == [HERE / "a.txt"]
    assert list(a.owned([HERE / "a.txt"])) == [HERE / "a.txt"]
    assert [k.path for k in a.known(HERE)] == [str(HERE / "a.wav")]


def test_jobs_of_a_host_are_those_that_it_has_taken_and_those_in_its_folders(
    hosts: tuple[Ledger, Ledger, Ledger],
) -> None:
    a, b, c = hosts
    a.admit([admission(path=HERE / f"{n}.wav", folder=HERE, sha256=f"sha{n}") for n in range(2)], 50.0)
    for content, ledger in zip("abc", hosts, strict=True):
        ledger.admit([admission("own.wav", content)], 51.0)
    (claim,) = b.claim("b/box:1", 1, 100.0, LEASE_S, allow_isolated=False)
    assert claim.path == THERE / "0.wav"
    assert b.finish([finish_of(claim, "words")], 102.0) == []
    assert claimed(c, "") == [FOLDER / "own.wav"]

    def of(host: str) -> set[tuple[str, str | None]]:
        return {(str(j.recording), j.host) for j in a.find_jobs(JobFilter(host=host)).jobs}

    assert of("a") == {("/srv/drop/own.wav", None)}, (
        "it has taken nothing, and the shared one may be anybody's"
    )
    assert of("b") == {("/mnt/nas/0.wav", "b"), ("@b:/srv/drop/own.wav", None)}
    assert of("") == {("@:/srv/drop/own.wav", "")}
    assert of("d") == set()


def test_a_copy_on_a_host_that_is_off_does_not_block_another_host(
    hosts: tuple[Ledger, Ledger, Ledger],
) -> None:
    a, b, _ = hosts
    a.admit([admission("older.wav", "same")], 50.0)
    b.admit([admission("copy.wav", "same")], 51.0)
    assert claimed(b, "b") == [FOLDER / "copy.wav"]
    assert claimed(a, "a") == [], "the result may be used"


def test_a_start_recovers_the_jobs_of_its_host_and_those_of_others_when_their_leases_have_run_out(
    hosts: tuple[Ledger, Ledger, Ledger],
) -> None:
    a, b, _ = hosts
    a.admit([admission(path=HERE / f"{n}.wav", folder=HERE, sha256=f"sha{n}") for n in range(3)], 50.0)
    (claim,) = a.claim("a/box:1", 1, 100.0, LEASE_S, allow_isolated=False)
    assert a.begin([(claim.job_id, claim.generation)]) == set()
    assert len(claimed(b, "b")) == 2
    assert b.recover(101.0).unbegun == 2
    assert a.heartbeat([(claim.job_id, claim.generation)], 101.0, LEASE_S) == set(), "it is still a's"
    assert a.recover(102.0).suspects == 1
    assert len(claimed(a, "a", 103.0)) == 2
    assert len(claimed(b, "b", 103.0 + LEASE_S + 1)) == 2, "a is gone"


def test_recipes_and_drains_are_those_of_a_host(
    hosts: tuple[Ledger, Ledger, Ledger], there: DatabaseLocation
) -> None:
    a, b, _ = hosts
    a.admit([admission("a.wav", "1")], 50.0)
    b.admit([admission("b.wav", "2")], 50.0)
    assert a.apply_recipes(lambda _: "of a") == 1
    assert [r["recipe"] for r in query(there, "SELECT recipe FROM jobs ORDER BY id")] == ["of a", "mini|vad"]
    a.pause(None, 60.0, "someone", draining=True)
    assert [p.draining for p in a.pauses() if p.folder is None] == [True]
    assert claimed(a, "a") == []
    assert claimed(b, "b") == [FOLDER / "b.wav"]


def test_leases_are_by_the_clock_of_the_server(there: DatabaseLocation) -> None:
    """One host's clock is ten minutes ahead, the other's ten minutes behind."""
    late, early = time.time() + 600, time.time() - 600
    with (
        closing(backend.lock_database(replace(there, places=A))) as lock_a,
        closing(backend.lock_database(replace(there, places=B))) as lock_b,
        closing(backend.open_ledger(replace(there, places=A), lock_a)) as a,
        closing(backend.open_ledger(replace(there, places=B), lock_b)) as b,
    ):
        a.admit([admission(path=HERE / "a.wav", folder=HERE)], early)
        (claim,) = a.claim("a/box:1", 1, early, LEASE_S, allow_isolated=False)
        assert claimed(b, "b", late) == [], "the lease goes on"
        assert a.heartbeat([(claim.job_id, claim.generation)], early, LEASE_S) == set()
        a.release(
            claim.job_id, claim.generation, early, not_before=early + 30, refund=True, isolate=False, code="x", reason="y"
        )  # fmt: skip
        assert claimed(b, "b", late) == [], "the delay goes on"
        (waiting,) = query(
            there, "SELECT not_before - extract(epoch FROM clock_timestamp()) AS left FROM jobs"
        )
        assert 0 < waiting["left"] <= 30
        a.shift_instants(1200.0)
        assert (
            query(there, "SELECT 1 FROM jobs WHERE not_before > extract(epoch FROM clock_timestamp()) + 31")
            == []
        )


def test_what_is_kept_is_by_the_clock_of_the_server(there: DatabaseLocation) -> None:
    """A host whose clock is ten minutes ahead neither removes anything early nor records it as of the future."""
    late = time.time() + 600
    with closing(backend.open_ledger(replace(there, places=A))) as a:
        a.admit([admission("a.wav")], late)
        (claim,) = a.claim("a/box:1", 1, late, LEASE_S, allow_isolated=False)
        assert a.finish([finish_of(claim, "words")], late) == []
        keeping = a.keeping
        assert keeping.finished((-1.0, 0), keeping.instant(late) - 300, 10) == [], "it ended just now"
        (one,) = keeping.finished((-1.0, 0), keeping.instant(late), 10)
        before = {"default": keeping.instant(late)}
        assert keeping.remove_text([one.job_id], late, finished_before=before, most=10) == [one.job_id]
        keeping.remove_logs([one.job_id], late)
        keeping.files_removed([one.job_id], late)
        assert keeping.depart(one.job_id, Path("/srv/old/a.wav"), late) is not None
        keeping.departed(one.recording_id, late, outputs_follow=False)
        keeping.record_backup(Path("/srv/backup"), late)
    instants = (
        "SELECT greatest(text_removed_at, logs_removed_at, files_removed_at, departed_at, made_at) "
        "- extract(epoch FROM clock_timestamp()) AS ahead FROM jobs, recordings, backups"
    )
    (row,) = query(there, instants)
    assert row["ahead"] < 300


def test_each_host_has_one_daemon_and_each_shared_folder_one_that_cares_for_it(
    there: DatabaseLocation,
) -> None:
    at_a, at_b = replace(there, places=A), replace(there, places=B)
    with closing(backend.lock_database(at_a)) as first:
        # A daemon of another host is not that of this one.
        assert [read_process(at).running for at in (at_a, at_b, there)] == [True, False, False]
        (problem,) = problems(read_process(at_b), 0.0)
        assert problem.startswith("no daemon of host b is running")
        with pytest.raises(AlreadyRunningError, match="as host a"):
            backend.lock_database(at_a)
        with closing(backend.lock_database(at_b)) as second:
            assert (first.kept(), second.kept()) == (("@nas",), ())
            with pytest.raises(AlreadyRunningError, match="too"):
                backend.lock_database(there, alone=True)
            with closing(backend.open_ledger(at_b, second)) as b:
                b.admit([admission(path=THERE / "a.wav", folder=THERE), admission("b.wav", "2")], 50.0)
                for claim in b.claim("b/box:1", 10, 100.0, LEASE_S, allow_isolated=False):
                    b.finish([finish_of(claim, "words")], 101.0)
                until = time.time() + 1000

                def finished() -> list[Path]:
                    return sorted(one.path for one in b.keeping.finished((-1.0, 0), until, 10))

                assert finished() == [FOLDER / "b.wav"]
                first.close()
                wait_until(lambda: b.verify() is None and second.kept() == ("@nas",), "b cares for it")  # type: ignore[func-returns-value]
                assert finished() == [FOLDER / "b.wav", THERE / "a.wav"]


def test_statistics_tell_folders_of_several_hosts_apart(hosts: tuple[Ledger, Ledger, Ledger]) -> None:
    a, b, c = hosts
    for ledger, host, content in ((a, "a", "1"), (b, "b", "2"), (c, "", "3")):
        ledger.admit([admission("a.wav", content)], 50.0)
        (claim,) = ledger.claim(f"{host}/x" if host else "x", 1, 60.0, LEASE_S, allow_isolated=False)
        assert ledger.finish([finish_of(claim, "words")], 70.0) == []
    a.admit([admission(path=HERE / "1.wav", folder=HERE, content="4")], 80.0)
    b.admit([admission(path=THERE / "2.wav", folder=THERE, content="5")], 80.0)
    for claim in b.claim("b/x", 10, 90.0, LEASE_S, allow_isolated=False):
        assert b.finish([finish_of(claim, "words")], 91.0) == []

    def by_folder(ledger: Ledger, folder: Path | None = None) -> dict[str, int]:
        found = ledger.totals([Part.FOLDER], TotalsFilter(folder=folder))
        return {t.key[0]: t.done for t in found}

    assert by_folder(a) == {"/srv/drop": 1, "/mnt/nas": 2, "@b:/srv/drop": 1, "@:/srv/drop": 1}
    assert by_folder(b) == {"/srv/drop": 1, "/srv/share": 2, "@a:/srv/drop": 1, "@:/srv/drop": 1}
    assert by_folder(c) == {"/srv/drop": 1, "@a:/srv/drop": 1, "@b:/srv/drop": 1, "@nas:": 2}
    for folder in ("/srv/drop", "/mnt/nas", "@b:/srv/drop", "@:/srv/drop"):
        assert by_folder(a, Path(folder)) == {folder: by_folder(a)[folder]}
        assert len(a.find_jobs(JobFilter(folder=Path(folder))).jobs) == by_folder(a)[folder]
        assert named_folder(Path(folder), FOLDER) == Path(folder)
    assert named_folder(Path("@a"), FOLDER) == FOLDER / "@a"
    assert a.wrong_totals() == {}
