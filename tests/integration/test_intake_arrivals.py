"""Every way a file arrives in a watched folder: none is passed on early, twice or never."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from dropscribe.files import FileSignature
from dropscribe.intake.types import Arrival, Completeness
from tests.support.intake import QUIET_S, Watched, folder_of, signature_of, wait_until

DATA = b"RIFF" + bytes(4000)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    return inbox


def put(path: Path, data: bytes = DATA) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("backend", ["inotify", "poll"])
def test_each_way_of_arriving(inbox: Path, tmp_path: Path, backend: str) -> None:
    with Watched(folder_of(inbox, backend=backend)) as w:
        w.wait_watching(inbox)
        copied = put(inbox / "copied.wav")
        moved = put(tmp_path / "moved.wav").rename(inbox / "moved.wav")
        linked = inbox / "linked.mp3"
        os.link(put(tmp_path / "linked.mp3"), linked)
        put(tmp_path / "tree" / "a.wav")
        put(tmp_path / "tree" / "deep" / "er" / "b.wav")
        (tmp_path / "tree").rename(inbox / "tree")
        nested = put(inbox / "new" / "nested" / "c.m4a")
        wanted = {
            copied,
            moved,
            linked,
            inbox / "tree" / "a.wav",
            inbox / "tree" / "deep" / "er" / "b.wav",
            nested,
        }
        for path in wanted:
            arrival = w.wait_arrival(path)
            assert arrival.signature == signature_of(path)
            assert arrival.folder == inbox
            assert arrival.settle_s >= QUIET_S
        w.settle_marker(inbox)
        assert len(w.arrivals()) == len(wanted) + 1


def test_events_suffice_between_rescans(inbox: Path, tmp_path: Path) -> None:
    """Rescans are an hour apart, so all notices below are caused by events."""
    with Watched(folder_of(inbox, backend="inotify"), rescan_s=3600) as w:
        w.wait_watching(inbox)
        put(tmp_path / "tree" / "a.wav")
        (tmp_path / "tree").rename(inbox / "tree")
        w.wait_arrival(inbox / "tree" / "a.wav")
        late = put(inbox / "tree" / "late" / "b.wav")
        w.wait_arrival(late)
        (inbox / "tree").rename(inbox / "renamed")
        w.wait_arrival(inbox / "renamed" / "late" / "b.wav")
        after = put(inbox / "renamed" / "late" / "c.wav")
        w.wait_arrival(after)
        w.wait_gone(late)
        after.unlink()
        w.wait_gone(after)


def test_rescans_suffice_without_events(inbox: Path) -> None:
    with Watched(folder_of(inbox, backend="poll", poll_s=3600)) as w:
        w.wait_watching(inbox)
        assert w.watcher.health()[0].backend == "poll"
        w.wait_arrival(put(inbox / "a.wav"))


def test_a_reload_scans_at_once(inbox: Path) -> None:
    folder = folder_of(inbox, backend="poll", poll_s=3600)
    with Watched(folder, rescan_s=3600) as w:
        w.wait_watching(inbox)
        path = put(inbox / "a.wav")
        w.watcher.reload([folder])
        w.wait_arrival(path)


def test_files_that_exist_at_the_start_arrive(inbox: Path) -> None:
    paths = [put(inbox / "a.wav"), put(inbox / "sub" / "b.wav")]
    with Watched(folder_of(inbox)) as w:
        for path in paths:
            w.wait_arrival(path)


def test_known_files_come_again_only_when_they_change(inbox: Path) -> None:
    same, changed = put(inbox / "same.wav"), put(inbox / "changed.wav")
    known = {path: signature_of(path) for path in (same, changed)}
    put(changed, DATA * 2)
    with Watched(folder_of(inbox), known=lambda _: known) as w:
        w.wait_arrival(changed)
        w.settle_marker(inbox)
        assert w.arrivals(same) == []
        put(same, DATA * 3)
        assert w.wait_arrival(same).signature.size == len(DATA) * 3


def test_a_copy_in_chunks_arrives_once_and_whole(inbox: Path) -> None:
    path = inbox / "chunks.wav"
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        with path.open("wb") as file:
            for i in range(5):
                file.write(DATA)
                file.flush()
                w.settle_marker(inbox, f"marker-{i}.wav")
        assert w.wait_arrival(path).signature.size == 5 * len(DATA)
        w.settle_marker(inbox)
        assert len(w.arrivals(path)) == 1


def test_a_writer_that_stalls_is_waited_for(inbox: Path) -> None:
    path = inbox / "stalled.wav"
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        with path.open("wb") as file:
            file.write(DATA)
            file.flush()
            # Other files arrive and settle meanwhile, for several quiet periods.
            for i in range(4):
                w.settle_marker(inbox, f"marker-{i}.wav")
            assert w.arrivals(path) == []
            assert w.watcher.unsettled() == 1
            assert w.waiting() == [(path, "open")]
            file.write(DATA)
        assert w.wait_arrival(path).signature.size == 2 * len(DATA)
        wait_until(lambda: w.watcher.unsettled() == 0, "nothing is waited for")


def test_a_temporary_name_waits_for_its_final_one(inbox: Path) -> None:
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        parts = [put(inbox / n) for n in ("a.wav.part", "b.wav.filepart", ".c.wav.Xy12", "d.wav.crdownload")]
        w.settle_marker(inbox)
        assert len(w.arrivals()) == 1
        assert w.skips() == []
        for part, final in zip(parts, ("a.wav", "b.wav", "c.wav", "d.wav"), strict=True):
            part.rename(inbox / final)
        for final in ("a.wav", "b.wav", "c.wav", "d.wav"):
            w.wait_arrival(inbox / final)


def test_rewritten_in_place_arrives_again(inbox: Path) -> None:
    path = put(inbox / "again.wav")
    with Watched(folder_of(inbox)) as w:
        first = w.wait_arrival(path)
        with path.open("r+b") as file:
            file.write(b"RIFX")
        second = w.wait_arrival(path, 2)
        assert second.signature != first.signature
        w.settle_marker(inbox)
        assert len(w.arrivals(path)) == 2
        assert w.gone() == []


def test_replaced_by_a_rename_arrives_again_and_is_not_gone(inbox: Path, tmp_path: Path) -> None:
    path = put(inbox / "edited.wav")
    with Watched(folder_of(inbox)) as w:
        w.wait_arrival(path)
        path.unlink()
        put(tmp_path / "edited.wav", DATA * 2).rename(path)
        w.wait_arrival(path, 2)
        w.settle_marker(inbox)
        assert w.gone() == []


def test_renamed_is_gone_there_and_arrives_here(inbox: Path) -> None:
    old, new = put(inbox / "Old.WAV"), inbox / "old.wav"
    with Watched(folder_of(inbox)) as w:
        w.wait_arrival(old)
        old.rename(new)
        w.wait_arrival(new)
        w.wait_gone(old)
        new.rename(old)
        w.wait_arrival(old, 2)


def test_hard_names(inbox: Path) -> None:
    names = [
        b"line\nbreak.wav",
        "😀 会议.wav".encode(),
        b"not-\xff\xfe-utf8.wav",
        b"x" * 251 + b".wav",
        b"%s [a] *?.wav",
        b"-rf.wav",
    ]
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        for name in names:
            w.wait_arrival(put(inbox / os.fsdecode(name)))
            w.wait_arrival(put(inbox / os.fsdecode(b"in-" + name[:100]) / os.fsdecode(name)))
        (inbox / os.fsdecode(names[2])).unlink()
        w.wait_gone(inbox / os.fsdecode(names[2]))


def test_links(inbox: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "secret.wav")
    inside = put(inbox / "real.wav")
    put(tmp_path / "elsewhere" / "x.wav")
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        good, bad, broken, folder = (inbox / n for n in ("good.wav", "bad.wav", "broken.wav", "folder"))
        good.symlink_to("real.wav")
        bad.symlink_to(outside)
        broken.symlink_to("nothing.wav")
        folder.symlink_to(tmp_path / "elsewhere")
        assert w.wait_arrival(good).signature == signature_of(inside)
        w.wait_skip(bad, "link_outside")
        w.wait_skip(broken, "link_broken")
        w.wait_skip(folder, "linked_folder")
        put(inbox / "nothing.wav")
        w.wait_arrival(broken)
        w.settle_marker(inbox)
        assert w.arrivals(bad) == []
        assert w.arrivals(folder / "x.wav") == []
        # Repeated scans do not report a refused name again.
        assert len(w.skips(bad)) == 1


def test_special_files_are_skipped(inbox: Path) -> None:
    os.mkfifo(inbox / "pipe.wav")
    with Watched(folder_of(inbox)) as w:
        w.wait_skip(inbox / "pipe.wav", "special_file")


def test_foreign_files_are_reported_once(inbox: Path) -> None:
    foreign = put(inbox / "slides.pdf")
    ours = [put(inbox / n) for n in ("a.txt", "a.srt", "a.vtt", "a.json", "a.timing.json", "notes.md", ".x")]
    with Watched(folder_of(inbox)) as w:
        assert ".pdf" in w.wait_skip(foreign, "extension").reason
        later = put(inbox / "later.PDF")
        w.wait_skip(later, "extension")
        w.settle_marker(inbox)
        assert {s.path for s in w.skips()} == {foreign, later}
        assert len(w.skips()) == 2
        assert not {a.path for a in w.arrivals()} & set(ours)


def test_an_empty_file_is_skipped_until_it_is_filled(inbox: Path) -> None:
    path = put(inbox / "void.wav", b"")
    with Watched(folder_of(inbox)) as w:
        w.wait_skip(path, "empty")
        w.settle_marker(inbox)
        assert len(w.skips(path)) == 1
        put(path)
        w.wait_arrival(path)


def test_excluded_paths_are_left_alone(inbox: Path) -> None:
    kept = put(inbox / "kept.wav")
    out = [put(inbox / n) for n in ("archive/old.wav", "archive/deep/older.wav", "sub/take_raw.wav")]
    out += [put(inbox / n) for n in ("@eaDir/x.wav", ".stversions/x.wav")]
    with Watched(folder_of(inbox, exclude=["archive/*", "*_raw.wav"])) as w:
        w.wait_arrival(kept)
        late = put(inbox / "archive" / "late.wav")
        later = put(inbox / "sub" / "late_raw.wav")
        w.settle_marker(inbox)
        assert not {a.path for a in w.arrivals()} & {*out, late, later}


def test_only_the_folder_itself_where_it_is_not_recursive(inbox: Path) -> None:
    below = put(inbox / "sub" / "b.wav")
    with Watched(folder_of(inbox, recursive=False)) as w:
        w.wait_arrival(put(inbox / "a.wav"))
        late = put(inbox / "new" / "c.wav")
        w.settle_marker(inbox)
        assert w.arrivals(below) == w.arrivals(late) == []


def test_a_done_marker_is_waited_for(inbox: Path) -> None:
    early = put(inbox / "early.wav")
    put(inbox / "early.wav.done", b"")
    path = put(inbox / "talk.wav")
    with Watched(folder_of(inbox, done_marker=True), rescan_s=3600) as w:
        w.wait_arrival(early)
        wait_until(lambda: w.watcher.unsettled() == 1, "talk.wav is waited for")
        put(inbox / "second.wav")
        w.wait_arrival(put(inbox / "second.wav.done", b"").with_suffix(""))
        assert w.arrivals(path) == []
        assert w.waiting() == [(path, "done_marker")]
        put(inbox / "talk.wav.done", b"")
        w.wait_arrival(path)
        (inbox / "talk.wav.done").unlink()


def test_a_cut_file_is_given_time_and_then_handed_over(inbox: Path) -> None:
    inspected: list[Path] = []

    def cut(_: Path, path: Path) -> Completeness:
        inspected.append(path)
        return Completeness.INCOMPLETE if path.name == "cut.wav" else Completeness.WHOLE

    path = put(inbox / "cut.wav")
    folder = folder_of(inbox, incomplete_s=5 * QUIET_S)
    with Watched(folder, completeness=cut) as w:
        w.wait_watching(inbox)
        arrival = w.wait_arrival(path)
        assert arrival.settle_s >= 5 * QUIET_S
        assert path in inspected


def test_a_file_removed_before_it_settled_causes_no_notice(inbox: Path) -> None:
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        path = inbox / "brief.wav"
        with path.open("wb") as file:  # held open, so that it cannot settle before it is removed
            file.write(DATA)
            file.flush()
            wait_until(lambda: w.watcher.unsettled() == 1, "it is seen")
            path.unlink()
        w.settle_marker(inbox)
        assert w.arrivals(path) == []
        assert w.gone() == []


def test_forgotten_files_are_handed_over_again(inbox: Path) -> None:
    path = put(inbox / "a.wav")
    with Watched(folder_of(inbox), rescan_s=3600) as w:
        first = w.wait_arrival(path)
        w.watcher.forget(path)
        assert w.wait_arrival(path, 2).signature == first.signature


def test_known_at_start_and_removed_meanwhile_is_gone(inbox: Path) -> None:
    there = put(inbox / "there.wav")
    removed = inbox / "removed.wav"
    known = {there: signature_of(there), removed: FileSignature(1, 2, 3)}
    with Watched(folder_of(inbox), known=lambda _: known) as w:
        w.wait_gone(removed)
        assert w.gone() == [removed]
        assert w.arrivals() == []


def test_a_burst_is_handed_over_once_each(inbox: Path) -> None:
    with Watched(folder_of(inbox)) as w:
        w.wait_watching(inbox)
        paths = [put(inbox / f"{i % 7}" / f"{i}.wav") for i in range(3000)]
        wait_until(lambda: len(w.arrivals()) >= len(paths), "all arrive")
        w.settle_marker(inbox)
        counted = [a.path for a in w.arrivals()]
        assert len(counted) == len(set(counted)) == len(paths) + 1


def test_folders_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    first, second = put(one / "a.wav"), put(two / "b.wav")
    odd = put(one / "c.xyz")
    with Watched(folder_of(one)) as w:
        w.wait_arrival(first)
        w.wait_skip(odd, "extension")
        w.watcher.reload([folder_of(one, extensions=[".wav", ".xyz"]), folder_of(two)])
        w.wait_arrival(second)
        w.wait_arrival(odd)
        w.watcher.reload([folder_of(two)])
        wait_until(lambda: [h.folder for h in w.watcher.health()] == [two], "one is not watched any more")
        unwatched = put(one / "late.wav")
        w.settle_marker(two)
        assert w.arrivals(unwatched) == []
        assert len(w.arrivals(first)) == 1


def test_an_exception_of_the_sink_ends_the_watcher(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    w = Watched(folder_of(inbox))
    seen: list[object] = []
    monkeypatch.setattr("threading.excepthook", seen.append)

    def broken(notice: object) -> None:
        if isinstance(notice, Arrival):
            raise RuntimeError("no more room")  # noqa: TRY004 - any failure will do

    monkeypatch.setattr(w.watcher, "_sink", broken)
    w.watcher.start()
    try:
        put(inbox / "a.wav")
        wait_until(lambda: not w.watcher.alive(), "it says that it is dead")
        assert isinstance(w.watcher.failure, RuntimeError)
    finally:
        w.watcher.stop()


def test_a_dead_event_thread_is_noticed(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("threading.excepthook", lambda _: None)
    first = put(inbox / "first.wav")
    with Watched(folder_of(inbox, backend="inotify")) as w:
        # The scan that finds a directory watches it before reading it.
        w.wait_arrival(first)
        assert w.watcher.alive()

        def fail(*_: object) -> None:
            raise OSError("the event descriptor broke")

        monkeypatch.setattr("watchdog.observers.inotify_c.InotifyFD.handle_event", fail)
        put(inbox / "a.wav")
        wait_until(lambda: not w.watcher.alive(), "it says that it is deaf")


def test_directories_copied_with_shutil(inbox: Path, tmp_path: Path) -> None:
    for i in range(20):
        put(tmp_path / "season" / f"{i}" / "deep" / f"{i}.flac")
    with Watched(folder_of(inbox), rescan_s=3600) as w:
        w.wait_watching(inbox)
        shutil.copytree(tmp_path / "season", inbox / "season")
        for i in range(20):
            w.wait_arrival(inbox / "season" / f"{i}" / "deep" / f"{i}.flac")
