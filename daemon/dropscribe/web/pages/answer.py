"""What came of an action, for people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answer:
    """The state found and made, or why nothing was changed; `job`: a new job that is to be shown instead."""

    text: str
    failed: bool = False
    job: int | None = None
