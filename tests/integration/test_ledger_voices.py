"""Known voices in the ledger."""

from __future__ import annotations

from contextlib import closing

from dropscribe.ledger.backend import open_beside, open_ledger
from dropscribe.ledger.interface import DatabaseLocation, Ledger
from dropscribe.ledger.records import EnrolledVoice
from dropscribe.transcript.known_voices import KnownVoice


def test_a_voice_is_known_to_its_model_until_it_is_removed(ledger: Ledger) -> None:
    ledger.enrol_voice("Anna", "campplus-zh-en", b"\1\2", 100.0)
    ledger.enrol_voice("Anna", "cam++", b"\3\4", 101.0)
    ledger.enrol_voice("Bo", "campplus-zh-en", b"\5\6", 102.0)
    ledger.enrol_voice("Bo", "campplus-zh-en", b"\7\7", 103.0)
    assert ledger.known_voices("campplus-zh-en") == [KnownVoice("Anna", b"\1\2"), KnownVoice("Bo", b"\7\7")]
    assert ledger.enrolled_voices() == [
        EnrolledVoice("Anna", "cam++", 101.0),
        EnrolledVoice("Anna", "campplus-zh-en", 100.0),
        EnrolledVoice("Bo", "campplus-zh-en", 103.0),
    ]
    assert ledger.remove_voice("Anna") == 2
    assert ledger.remove_voice("Anna") == 0
    assert ledger.known_voices("cam++") == []


def test_voices_are_changed_beside_the_daemon(location: DatabaseLocation) -> None:
    with closing(open_ledger(location)) as daemon, closing(open_beside(location)) as command:
        command.enrol_voice("Anna", "campplus-zh-en", b"\1\2", 100.0)
        assert daemon.known_voices("campplus-zh-en") == [KnownVoice("Anna", b"\1\2")]
