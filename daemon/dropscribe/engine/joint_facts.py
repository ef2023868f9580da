"""Facts of several engines that work on the same recordings: whether they are alike, and all of them in one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dropscribe.errors import EngineError
from dropscribe.transcript.types import EngineFacts


def check_alike(one: EngineFacts, other: EngineFacts) -> None:
    """Raise EngineError if two engines have different models or package versions, and so may give different text."""
    if (one.models, one.versions) != (other.models, other.versions):
        has, has_other = (" and ".join(model for _, model in facts.models) for facts in (one, other))
        raise EngineError(
            f"{one.device} has {has}, {other.device} has {has_other}, or their packages differ in version",
            operation="start engine",
            remedy="restart the service, so that all devices load the same",
        )


def joint_facts(known: Sequence[EngineFacts]) -> EngineFacts:
    """Combine the facts of engines with equal models: distinct devices and precisions, and the longest warm-up."""
    if not known:
        raise EngineError(
            "not ready yet", operation="ask the engine for its facts", remedy="wait until it is ready"
        )
    return replace(
        known[0],
        device=", ".join(dict.fromkeys(f.device for f in known)),
        precision=", ".join(sorted({f.precision for f in known})),
        warmup_s=max(f.warmup_s for f in known),
    )
