"""Fixture: one running daemon for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.daemon_process import DaemonProcess


@pytest.fixture(scope="module")
def dropscribe(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    """A daemon with the bundled model, ready."""
    with DaemonProcess(tmp_path_factory.mktemp("daemon")) as process:
        yield process
