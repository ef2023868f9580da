"""How a decoder process came to its end, from its exit status."""

from __future__ import annotations

import signal

import pytest

from dropscribe.media.child import ended


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP, 40])
def test_a_signal_that_a_process_does_not_send_itself_came_from_outside(number: int) -> None:
    end = ended(-number)
    assert end.killed
    assert "killed by" in end.how


@pytest.mark.parametrize(
    "number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGXFSZ]
)
def test_a_crash_is_the_process_s_own(number: signal.Signals) -> None:
    end = ended(-number)
    assert not end.killed
    assert end.how == f"was killed by {number.name}"


def test_an_exit_is_its_own() -> None:
    assert (ended(1).killed, ended(1).how) == (False, "ended with status 1")


def test_one_whose_end_takes_long_was_killed() -> None:
    """It has closed its pipe, which the kernel does for a killed process before it is gone."""
    assert ended(None).killed
