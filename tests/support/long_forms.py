"""Tests that `make soak` runs and `make test` does not."""

from __future__ import annotations

import pytest

#: For a test of processes that takes its time, where a shorter one shows the same kind of thing: in `make soak` only.
IN_SOAK = pytest.mark.parametrize((), [pytest.param(marks=pytest.mark.soak)])
